"""The doctor's requests: one damaged answer gives the result with its advice."""

import http.client
import json
from collections.abc import Callable, Mapping

import pytest

from service.api import wire
from service.api.versions import LATEST
from service.commands import doctor_memory
from service.commands.api_client import Answer, ApiClient
from service.commands.doctor_client import ClientChecks
from service.commands.doctor_results import CheckResult, Status
from service.errors import CommandError

ID = "550e8400-e29b-41d4-a716-446655440000"
PATH = wire.SESSION_PATHS[0]
COUNTS = f"{wire.OPERATOR_PATH}/analytics/users/doctor"
ORIGIN = "https://app.example.com"
Headers = Mapping[str, str | list[str] | None]
Change = Callable[[str, str, Mapping[str, str | None]], Answer | None]
COOKIE = f"{wire.SESSION_TOKEN}={ID}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"
CORS = {
    "Access-Control-Allow-Origin": ORIGIN,
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": ", ".join(wire.RESPONSE_HEADERS),
}


def answer(status: int, document: Mapping[str, object] | None = None, headers: Headers | None = None) -> Answer:
    """Return an answer. A header may have several values, or None for no value."""
    given = http.client.HTTPMessage()
    for name, value in (headers or {}).items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                given[name] = one
    body = b"" if document is None else json.dumps(document).encode()
    return Answer(status, given, body, 0.0, 0.0)


def problem(status: int, slug: str, **more: str) -> Answer:
    """Return a problem document."""
    return answer(status, {"type": wire.PROBLEM_TYPE_PREFIX + slug, "detail": "the detail.", **more})


def created(changes: Headers | None = None) -> Answer:
    """Return the answer to POST. The changes replace headers, and None removes one."""
    headers: Headers = {
        str(wire.SESSION_TOKEN): ID,
        "Set-Cookie": COOKIE,
        str(wire.API_VERSION): LATEST,
        "Cache-Control": "no-store",
    }
    return answer(201, {"session_id": ID}, {**headers, **(changes or {})})


class Deployment(ApiClient):
    """A service behind a proxy. Each change replaces the answers to some requests."""

    def __init__(self, *changes: Change) -> None:
        super().__init__("http://127.0.0.1:8080", "key")
        self._changes = changes
        self._is_ended = False

    def send(self, method: str, path: str, headers: Mapping[str, str | None] | None = None) -> Answer:
        for change in self._changes:
            if found := change(method, path, headers or {}):
                return found
        if path == PATH:
            return self._of_session(method, headers or {})
        documents: dict[str, dict[str, object]] = {
            "/readyz": {"status": "ready"},
            COUNTS: {"as_of": "2026-11-26T00:00:00Z"},
            wire.STORE_STATUS_PATH: {"memory_limit_bytes": None},
        }
        return answer(200, documents.get(path, {"sessions": []}))

    def _of_session(self, method: str, headers: Mapping[str, str | None]) -> Answer:
        if method == "POST":
            return created()
        if method == "OPTIONS":
            return answer(204, None, CORS)
        if "Origin" in headers:
            return answer(404, None, CORS)
        self._is_ended = self._is_ended or method == "DELETE"
        return answer(204) if method == "DELETE" else answer(404 if self._is_ended else 200)


def instead(method: str, path: str, other: Answer, with_header: str = "") -> Change:
    """Return a change: another answer to a method and path, perhaps with a header."""

    def change(asked: str, at: str, headers: Mapping[str, str | None]) -> Answer | None:
        is_meant = not with_header or headers.get(with_header) is not None
        return other if (asked, at) == (method, path) and is_meant else None

    return change


def results(*changes: Change, origin: str | None = ORIGIN) -> list[CheckResult]:
    client = Deployment(*changes)
    return list(ClientChecks(client, client, origin).run())


def bad(*changes: Change) -> list[CheckResult]:
    """Return the results that are not good."""
    return [one for one in results(*changes) if one.status is not Status.GOOD]


def test_a_healthy_deployment_has_only_good_results() -> None:
    """Nothing is reported about a service that answers as it should."""
    assert bad() == []
    assert len(results()) > 12


DAMAGED: dict[str, tuple[Change, str, str]] = {
    "another version": (
        instead("POST", PATH, created({wire.API_VERSION: "2031-01-01"})),
        "the service answers with API version 2031-01-01",
        f"expects {LATEST}",
    ),
    "no version": (instead("POST", PATH, created({wire.API_VERSION: None})), "has no API version", "Update"),
    "cached": (
        instead("POST", PATH, created({"Cache-Control": "public"})),
        "Cache-Control is not `no-store`",
        "proxy or CDN",
    ),
    "no header": (
        instead("POST", PATH, created({wire.SESSION_TOKEN: None})),
        "of the answer does not arrive",
        "pass this header",
    ),
    "another header": (
        instead("POST", PATH, created({wire.SESSION_TOKEN: ID[::-1]})),
        "of the answer does not arrive",
        "pass this header",
    ),
    "no cookie": (
        instead("POST", PATH, created({"Set-Cookie": None})),
        "cookie of the answer is lost",
        "Set-Cookie",
    ),
    "cookie twice": (
        instead("POST", PATH, created({"Set-Cookie": [COOKIE, COOKIE]})),
        "cookie of the answer is lost or changed",
        "Set-Cookie",
    ),
    "cookie without Secure": (
        instead("POST", PATH, created({"Set-Cookie": COOKIE.replace("; Secure", "")})),
        "cookie of the answer is lost or changed",
        "Set-Cookie",
    ),
    "cookie without HttpOnly": (
        instead("POST", PATH, created({"Set-Cookie": COOKIE.replace("; HttpOnly", "")})),
        "cookie of the answer is lost or changed",
        "Set-Cookie",
    ),
    "cookie is dropped": (
        instead("GET", PATH, answer(404), "Cookie"),
        "the cookie does not reach the service (404)",
        "pass Cookie unchanged",
    ),
    "alias is dropped": (
        instead("GET", PATH, answer(404), str(wire.SESSION_TOKEN_ALIAS)),
        f"the header {wire.SESSION_TOKEN_ALIAS} does not reach the service (404)",
        "pass this header",
    ),
    "DELETE is rejected": (
        instead("DELETE", PATH, answer(405)),
        "the session cannot be ended (405)",
        "pass DELETE",
    ),
    "DELETE does nothing": (
        instead("DELETE", PATH, answer(204)),
        "the session cannot be ended (204)",
        "pass DELETE",
    ),
    "draining": (
        instead("GET", "/readyz", answer(503, {"status": "draining"})),
        "the service is not ready: draining",
        "wait until it has stopped",
    ),
    "no Redis": (
        instead("GET", "/readyz", answer(503, {"status": "store-unavailable"})),
        "the service is not ready: store-unavailable",
        "results about Redis",
    ),
    "counts fail": (
        instead("GET", COUNTS, problem(503, "store-unavailable", request_id="r1")),
        "counts cannot be read: 503, the detail.",
        "request_id r1",
    ),
    "foreign counts": (instead("GET", COUNTS, answer(200, {"a": 1})), "counts cannot be read: 200", "check --url"),
    "preflight": (
        instead("OPTIONS", PATH, answer(204, None, {**CORS, "Access-Control-Allow-Credentials": None})),
        "the preflight fails (204)",
        "cors.origins",
    ),
    "preflight with two origins": (
        instead("OPTIONS", PATH, answer(204, None, {**CORS, "Access-Control-Allow-Origin": [ORIGIN, "*"]})),
        "the preflight fails (204)",
        "cors.origins",
    ),
    "unreadable": (
        instead("GET", PATH, answer(404, None, {**CORS, "Access-Control-Allow-Origin": None}), "Origin"),
        "pages cannot read answers",
        "add none of its own",
    ),
    "headers hidden": (
        instead("GET", PATH, answer(404, None, {**CORS, "Access-Control-Expose-Headers": "a"}), "Origin"),
        "pages cannot read answers",
        "add none of its own",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_one_damage_is_one_problem(case: str) -> None:
    """A problem names what is damaged, and its advice what to change."""
    change, finding, advice = DAMAGED[case]
    (found,) = bad(change)
    assert found.status is Status.PROBLEM
    assert finding in found.finding
    assert advice in found.advice


def test_a_session_that_cannot_be_created_is_reported_once() -> None:
    """After a 503 the counts are not read, and after another status they are."""
    for status, more in ((503, 0), (500, 1)):
        refused = instead("POST", PATH, problem(status, "x", request_id="r2"))
        found = [one for one in results(refused, origin=None) if one.status is Status.PROBLEM]
        assert [one.finding for one in found] == [f"a session cannot be created: {status}, the detail."]
        assert "request_id r2" in found[0].advice
        assert sum("counts can be read" in one.finding for one in results(refused, origin=None)) == more


def test_a_201_of_another_server_creates_nothing() -> None:
    """A 201 without a session id is not an answer of this service."""
    (found,) = bad(instead("POST", PATH, answer(201, {"session_id": "x"})))
    assert found.finding == "a session cannot be created: 201, not an answer of this service"
    assert found.advice == "check --url"


def test_no_way_that_works_leaves_nothing_to_end() -> None:
    """Without any way to present a session, the doctor does not try to end it."""
    found = [one.finding for one in results(instead("GET", PATH, answer(404)), origin=None)]
    assert len([one for one in found if "does not reach the service (404)" in one]) == 3
    assert not [one for one in found if "ended" in one]


def test_an_end_without_a_success_is_a_problem() -> None:
    """A session that is gone after an error of DELETE was not ended as it should."""
    ended = []

    def fails(method: str, path: str, _: object) -> Answer | None:
        ended.extend([method] if method == "DELETE" else [])
        return answer(502 if method == "DELETE" else 404) if ended and path == PATH else None

    (found,) = [one for one in results(fails, origin=None) if one.status is not Status.GOOD]
    assert found.finding == "the session cannot be ended (502)"


def test_after_a_preflight_that_fails_no_page_is_tried() -> None:
    """The check of answers to a page needs a preflight that passes."""
    for refused, more in ((answer(403), 0), (answer(204, None, CORS), 1)):
        found = [one.finding for one in results(instead("OPTIONS", PATH, refused))]
        assert len([one for one in found if "pages can read answers" in one]) == more


def test_only_an_origin_that_the_key_lacks_is_a_reason_to_use_another_key() -> None:
    """A key without the scope is rejected without an origin too."""
    refused = problem(403, "forbidden")
    refused = answer(403, refused.document(), CORS)
    for of_the_origin, words in (("Origin", ["may use their key"]), ("", [])):
        found = [one.finding for one in bad(instead("GET", PATH, refused, of_the_origin))]
        assert [word for word in ("may use their key",) if any(word in one for one in found)] == words


def test_a_service_that_vanishes_is_a_problem_of_its_own() -> None:
    """An error after the first answers does not end the report in a traceback."""

    def gone(method: str, *_: object) -> Answer | None:
        if method == "DELETE":
            raise CommandError("no answer")
        return None

    (found,) = bad(gone)
    assert (found.finding, found.status) == ("no answer", Status.PROBLEM)
    assert "a moment ago" in found.advice


@pytest.mark.parametrize("page", [answer(404), answer(200), answer(503, {"status": "x"})])
def test_readiness_that_a_proxy_hides_is_no_problem(page: Answer) -> None:
    """A proxy may pass only the API."""
    (found,) = bad(instead("GET", "/readyz", page))
    assert found.status is Status.UNKNOWN
    assert "/readyz cannot be reached" in found.finding


DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "status", "words"),
    [
        (0, Status.WARNING, "memory is full now"),
        (7199, Status.WARNING, "memory is full in 119 minutes at this rate"),
        (7200, Status.WARNING, "memory is full in 2 hours at this rate"),
        (DAY - 1, Status.WARNING, "memory is full in 23 hours at this rate"),
        (DAY, Status.GOOD, "memory is full in 24 hours at this rate"),
        (2 * DAY, Status.GOOD, "memory is full in 2 days at this rate"),
        (None, Status.UNKNOWN, "no forecast"),
    ],
)
def test_memory_that_will_be_full_within_a_day_is_a_warning(
    seconds: float | None, status: Status, words: str
) -> None:
    """The forecast is in minutes, hours or days, and a warning below one day."""
    document = {"memory_limit_bytes": 1000, "memory_full_seconds": seconds}
    (found,) = doctor_memory.check(Deployment(instead("GET", wire.STORE_STATUS_PATH, answer(200, document))))
    assert found.status is status
    assert found.finding.startswith(words)


@pytest.mark.parametrize("hidden", [answer(404), answer(200, {"memory_limit_bytes": 0}), answer(403, {"a": 1})])
def test_without_a_memory_limit_there_is_no_forecast(hidden: Answer) -> None:
    """Other checks report a missing limit."""
    assert list(doctor_memory.check(Deployment(instead("GET", wire.STORE_STATUS_PATH, hidden)))) == []
