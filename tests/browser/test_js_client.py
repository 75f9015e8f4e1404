"""The JavaScript client in a real Chromium, on a page of another origin."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import TOKEN, Launch, Process

pytestmark = pytest.mark.browser

MAX_GZIPPED_BYTES = 3000
Start = Callable[..., None]


@pytest.fixture
def process(launch: Launch, origin: str) -> Process:
    """Run a service that allows the origin of the page."""
    return launch(JAY_CORS__ORIGINS=json.dumps([origin]))


@pytest.fixture
def start(process: Process) -> Start:
    """Return a function that loads the client into a page, from the service."""

    def load(page: Any, options: str = "") -> None:
        url = process.url.replace("127.0.0.1", "localhost")
        page.evaluate(
            f"""async () => {{
              const client = await import("{url}/static/jay-tracking.js");
              const {{ Tracking, localStorageOrMemory, memoryStorage }} = client;
              window.errors = [];
              const onError = (error) => window.errors.push(String(error));
              const storages = {{ localStorageOrMemory, memoryStorage }};
              window.tracking = new Tracking({{ url: "{url}", key: "your_api_key_here", onError, {options} }});
            }}"""
        )

    return load


def test_the_client_is_small_and_served(process: Process, project: Path) -> None:
    """The served module is the one of the package, with at most 3 kB."""
    module = (project / "clients" / "js" / "jay-tracking.js").read_bytes()
    assert len(gzip.compress(module, 9)) <= MAX_GZIPPED_BYTES
    assert process.request("GET", "/static/jay-tracking.js").body == module


def test_a_page_keeps_its_session_by_cookie(page: Any, process: Process, start: Start) -> None:
    """Parallel calls and reloads make one session, which ends."""
    start(page)
    sessions = page.evaluate("Promise.all([1, 2, 3].map(() => tracking.session()))")
    assert len({one["session_id"] for one in sessions}) == 1
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["value"]) == (TOKEN, sessions[0]["session_id"])
    page.reload()
    start(page)
    assert page.evaluate("tracking.session()")["session_id"] == sessions[0]["session_id"]
    assert process.totals()["created"] == 1
    assert page.evaluate("tracking.end()") is True
    assert page.context.cookies() == []
    assert process.status_of(sessions[0]["session_id"]) == 404
    assert page.evaluate("tracking.session()")["session_id"] != sessions[0]["session_id"]
    assert page.evaluate("errors") == []


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_url_may_end_in_slashes(page: Any, process: Process, start: Start, slashes: str) -> None:
    """A slash at the end of the URL, as an address bar shows it, is ignored."""
    start(page, f'url: "{process.url.replace("127.0.0.1", "localhost")}{slashes}"')
    assert page.evaluate("tracking.session()")["session_id"]
    assert page.evaluate("errors") == []


def test_a_device_keeps_its_session_by_header(page: Any, process: Process, start: Start) -> None:
    """With a storage there is no cookie, and the session outlives a reload."""
    start(page, "storage: storages.localStorageOrMemory()")
    session = page.evaluate("tracking.session()")
    assert page.context.cookies() == []
    page.reload()
    start(page, "storage: storages.localStorageOrMemory()")
    assert page.evaluate("tracking.session()")["session_id"] == session["session_id"]
    assert page.evaluate("tracking.end()") is True
    assert process.status_of(session["session_id"]) == 404
    assert page.evaluate("Object.keys(localStorage)") == []


@pytest.mark.parametrize("options", ["", "storage: storages.memoryStorage()"], ids=["cookie", "header"])
def test_consent_follows_the_table(page: Any, process: Process, start: Start, options: str) -> None:
    """A user id is sent only for a user who is logged in and has agreed."""
    start(page, options)
    first = page.evaluate("tracking.session()")
    seen = [first["session_id"]]
    for state, user_id in (
        ({"userId": "user-1", "agreed": False}, None),
        ({"userId": "user-1", "agreed": True}, "user-1"),
        ({"userId": "user-2", "agreed": True}, "user-2"),
        ({"agreed": True}, None),
        ({"agreed": False}, None),
    ):
        session = page.evaluate("state => tracking.consent(state)", state)
        assert session.get("user_id") == user_id
        assert session["start_time"] == first["start_time"]
        assert process.status_of(session["session_id"]) == 200
        seen.append(session["session_id"])
    assert len(set(seen)) == 4
    counted = process.totals()
    assert (counted["created"], counted["consent_given"], counted["consent_withdrawn"]) == (1, 2, 2)


def test_consent_before_the_first_session_creates_it_with_the_user(page: Any, start: Start, process: Process) -> None:
    """Consent alone creates no session. The next session has the user id."""
    start(page, "consent: { userId: 'user-1', agreed: false }")
    assert page.evaluate("tracking.consent({ userId: 'user-1', agreed: true })") is None
    assert process.totals()["created"] == 0
    assert page.evaluate("tracking.session()")["user_id"] == "user-1"
    page.reload()
    start(page, "consent: {}")
    assert "user_id" not in page.evaluate("tracking.session()")  # logged out meanwhile


@pytest.mark.parametrize("then", ["same page", "reload"])
@pytest.mark.parametrize("lost", ["session", "session/user"])
def test_a_withdrawal_follows_a_lost_answer(page: Any, process: Process, start: Start, lost: str, then: str) -> None:
    """No session with a user id remains after a lost answer and a withdrawal."""

    def lose(route: Any) -> None:
        if route.request.method in {"POST", "PUT"}:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    start(page)
    if lost == "session/user":
        page.evaluate("tracking.session()")
    page.context.route(f"**/v1/playouts/tracking/{lost}", lose)
    page.evaluate("tracking.consent({ userId: 'user-1', agreed: true })")
    assert page.evaluate("tracking.session()") is None
    page.context.unroute_all(behavior="wait")
    if then == "reload":
        page.reload()
        start(page)
    session = page.evaluate("tracking.consent({ userId: 'user-1', agreed: false })")
    assert "user_id" not in session
    assert process.status_of(session["session_id"]) == 200
    counted = process.totals()
    assert (counted["created"], counted["consent_withdrawn"]) == (1, 1)
    assert page.evaluate("Object.keys(localStorage)") == []
    assert page.evaluate("tracking.end()") is True
    assert process.status_of(session["session_id"]) == 404


def test_a_full_storage_is_memory(page: Any, process: Process, start: Start) -> None:
    """A device whose storage is full keeps its session until the end of the page."""
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    start(page, "storage: storages.localStorageOrMemory()")
    ids = {page.evaluate("tracking.session()")["session_id"] for _ in range(2)}
    assert len(ids) == 1
    assert page.evaluate("tracking.end()") is True
    assert page.evaluate("tracking.session()")["session_id"] not in ids
    assert process.totals()["created"] == 2


def test_a_visitor_with_gpc_is_a_guest(page: Any, start: Start) -> None:
    """With `gpc: true`, no user id of a visitor who opted out is sent.

    The default ignores the signal.
    """
    page.evaluate("Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })")
    start(page, "gpc: true, consent: { userId: 'user-1', agreed: true }")
    assert "user_id" not in page.evaluate("tracking.session()")
    start(page, "consent: { userId: 'user-1', agreed: true }")
    assert page.evaluate("tracking.session()")["user_id"] == "user-1"


def test_consent_without_a_state_is_withdrawn(page: Any, start: Start) -> None:
    """A page that passes nothing on gets a guest's session, and no error."""
    start(page, "consent: { userId: 1, agreed: true }")
    assert page.evaluate("tracking.session()")["user_id"] == "1"
    assert "user_id" not in page.evaluate("tracking.consent()")
    assert page.evaluate("errors") == []


@pytest.mark.parametrize("across_tabs", ["web locks", "fallback"])
def test_tabs_and_reloads_with_failures_make_one_session(
    page: Any, process: Process, start: Start, origin: str, across_tabs: str
) -> None:
    """Two tabs at once, reloads and 10 % failed requests make one session."""
    chance = random.Random(20261127)
    other = page.context.new_page()
    other.goto(origin)

    def fail_some(route: Any) -> None:
        if chance.random() >= 0.1:
            route.continue_()
        elif chance.random() < 0.5:
            route.abort()
        else:  # the answer is lost
            route.fetch()
            route.abort()

    page.context.route("**/v1/playouts/tracking/session", fail_some)
    tabs = [page, other]
    for _ in range(3):
        for tab in tabs:
            if across_tabs == "fallback":
                tab.evaluate("Object.defineProperty(navigator, 'locks', { value: undefined })")
            start(tab)
            tab.evaluate("void (window.pending = tracking.session())")
        for tab in tabs:
            tab.reload()
    ids = set()
    for tab in tabs:
        start(tab)
        ids.add(tab.evaluate("tracking.session()")["session_id"])
    page.context.unroute_all(behavior="ignoreErrors")
    assert len(ids) == 1
    assert process.totals()["created"] == 1


def test_an_outage_throws_nothing_into_the_page(page: Any, start: Start) -> None:
    """While the service is away, methods return null or false and report the reason."""
    start(page)
    session = page.evaluate("tracking.session()")
    page.reload()
    start(page)
    page.context.route("**/v1/**", lambda route: route.abort())
    assert page.evaluate("tracking.session()") is None
    assert page.evaluate("async () => (await tracking.consent({ userId: 'u', agreed: true })) === null")
    assert page.evaluate("tracking.end()") is False
    assert page.evaluate("errors.length") > 0
    page.context.unroute_all(behavior="wait")
    assert page.evaluate("tracking.session()")["start_time"] == session["start_time"]


def test_a_request_without_an_answer_in_time_is_repeated(page: Any, start: Start) -> None:
    """A request ends after 10 s. A browser that has no such limit uses its own."""
    page.evaluate(
        """() => {
          window.limits = [];
          const limit = AbortSignal.timeout.bind(AbortSignal);
          AbortSignal.timeout = (time) => (limits.push(time) === 1 ? AbortSignal.abort() : limit(time));
        }"""
    )
    start(page)
    assert page.evaluate("tracking.session()")["session_id"]
    assert page.evaluate("limits") == [10_000, 10_000, 10_000]  # GET twice, POST
    page.evaluate("() => { AbortSignal.timeout = undefined; }")
    assert page.evaluate("tracking.end()") is True
    assert page.evaluate("errors") == []


def test_a_session_of_another_tab_is_found_after_the_end(
    page: Any, process: Process, start: Start, origin: str
) -> None:
    """A page that has ended its session asks whether there is another one."""
    other = page.context.new_page()
    other.goto(origin)
    for tab in (page, other):
        start(tab)
    page.evaluate("tracking.session()")
    assert page.evaluate("tracking.end()") is True
    session = other.evaluate("tracking.session()")
    assert page.evaluate("tracking.session()")["session_id"] == session["session_id"]
    assert process.totals()["created"] == 2


def test_fetch_adds_the_session_for_own_origins_only(page: Any, process: Process, start: Start, origin: str) -> None:
    """The header goes to the listed origins only, which are none by default."""
    seen: list[tuple[str, str | None]] = []

    def answer(route: Any) -> None:
        seen.append((route.request.url, route.request.headers.get("x-jay-tracking")))
        route.fulfill(status=200, body="")

    page.route("**/movies", answer)
    start(page)
    page.evaluate(f"tracking.fetch('{origin}/movies')")
    start(page, f"origins: ['{origin}']")
    session = page.evaluate("tracking.session()")
    page.evaluate(f"tracking.fetch('{origin}/movies')")
    page.evaluate(f"tracking.fetch('{process.url.replace('127.0.0.1', 'localhost')}/movies', {{ mode: 'no-cors' }})")
    assert [header for _, header in seen] == [None, session["session_id"], None]
