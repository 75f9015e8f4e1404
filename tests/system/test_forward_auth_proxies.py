"""The configurations of deploy/forward-auth/ with real proxies."""

import http.client
import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.api_keys import hash_key
from service.config.settings import DEVELOPMENT_USER_SECRET
from service.digests import SessionRefs
from tests.support.forward_auth import PROGRAMS, PROXY_KEY, access_log, application, proxy
from tests.support.processes import KEY, TOKEN, Launch, Process, eventually

Headers = list[tuple[str, str]]
OURS = ("X-Jay-Session", "X-Jay-Session-Ref", "X-Jay-Session-Expires", "X-Jay-Source", "X-Jay-Session-Id")
FORGED = [(name, "forged") for name in (*OURS, "X-Jay-User-Id")]
UNDERSCORES = [(name.replace("-", "_"), "forged") for name, _ in FORGED]
MAX_ADDED_SECONDS = 0.05
WITH_CACHE = {"nginx", "haproxy"}
FAILS_CLOSED = {"traefik"}  # it has no setting for that
ref_of = SessionRefs(DEVELOPMENT_USER_SECRET)

KEYS = [
    {"name": "demo", "sha256": hash_key(KEY), "scopes": ["track"]},
    {"name": "proxy", "sha256": hash_key(PROXY_KEY), "scopes": ["validate"], "reveal": ["session_id", "user_id"]},
]


@pytest.fixture(params=list(PROGRAMS))
def kind(request: pytest.FixtureRequest) -> str:
    """Return the name of an installed proxy."""
    if PROGRAMS[request.param] is None:
        pytest.skip(f"{request.param} is not installed, or too old")
    return str(request.param)


@pytest.fixture
def jay(launch: Launch) -> Process:
    """Run the service with a key for the proxy."""
    return launch(JAY_API_KEYS=json.dumps(KEYS), JAY_REDIS__TIMEOUT_SECONDS="10", JAY_LOG__SESSION_REF="true")


@pytest.fixture
def front(kind: str, jay: Process, tmp_path: Path) -> Iterator[Process]:
    """Run the proxy in front of an application that answers its request's headers."""
    with ExitStack() as stack:
        port = stack.enter_context(application())
        yield stack.enter_context(proxy(kind, tmp_path / kind, jay.url, port))


def seen(front: Process, headers: Headers, method: str = "GET", path: str = "/movies?a=b") -> dict[str, list[str]]:
    """Send a request, and return the headers that the application gets."""
    connection = http.client.HTTPConnection(urlsplit(front.url).netloc, timeout=10)
    try:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, (response.status, body)
    finally:
        connection.close()
    found: dict[str, list[str]] = {}
    for name, value in json.loads(body):
        found.setdefault(name.lower(), []).append(value)
    return found


def ours(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the headers of forward-auth, in any spelling."""
    return {
        name: values
        for name, values in found.items()
        if (name.replace("_", "-").startswith("x-jay-") or name == "baggage") and any(values)
    }


def create(jay: Process, user_id: str | None = None) -> str:
    """Create a session and return its id."""
    connection = http.client.HTTPConnection(urlsplit(jay.url).netloc, timeout=10)
    body = None if user_id is None else json.dumps({"user_id": user_id})
    connection.request(
        "POST",
        "/v1/playouts/tracking/session",
        body,
        {"X-API-Key": KEY, "Content-Type": "application/json"},
    )
    response = connection.getresponse()
    response.read()
    connection.close()
    return str(response.headers[TOKEN])


def test_the_application_gets_the_session_and_no_forgery(kind: str, front: Process, jay: Process) -> None:
    """The session's headers replace those of the visitor, which are all removed."""
    session_id = create(jay, "Jörg")
    ref = ref_of(session_id)
    visitor = [("baggage", "session.id=forged,a=1"), *FORGED, *UNDERSCORES]
    found = seen(front, [("Cookie", f"a=b; {TOKEN}={session_id}; c=d"), *visitor])
    expected = {
        "x-jay-session": ["live"],
        "x-jay-session-ref": [ref],
        "x-jay-source": ["jay.api.playout.1.0.0"],
        "x-jay-session-id": [session_id],
        "x-jay-user-id": ["J%C3%B6rg"],
        "baggage": [f"session.id={ref},a=1"],
    }
    expires = ours(found).pop("x-jay-session-expires")
    assert len(expires) == 1
    assert expires[0].endswith("Z")
    assert {name: values for name, values in ours(found).items() if name != "x-jay-session-expires"} == expected
    assert found["cookie"] == [f"a=b; {TOKEN}={session_id}; c=d"]
    assert "x-api-key" not in found
    eventually(lambda: ref in access_log(kind, front), "the ref is in the access log")
    assert session_id not in access_log(kind, front)
    assert ours(seen(front, visitor)) == {"x-jay-session": ["none"], "baggage": ["a=1"]}
    assert ours(seen(front, [("baggage", "session.id=forged")])) == {"x-jay-session": ["none"]}


def test_every_place_of_the_token_and_every_method_works(front: Process, jay: Process) -> None:
    """The session is found by cookie or header, for any method and path."""
    session_id = create(jay)
    dead = "00000000-0000-4000-8000-000000000000"
    for headers in (
        [("Cookie", f"{TOKEN}={session_id}")],
        [("Cookie", f"{TOKEN}={dead}; {TOKEN}={session_id}")],
        [("Cookie", f"{TOKEN}={session_id}; x{TOKEN}={dead}")],
        [("X-Jay-Tracking", session_id)],
        [("X-Jay-Tracking", session_id), ("Cookie", f"{TOKEN}={dead}")],
    ):
        assert seen(front, headers)["x-jay-session"] == ["live"], headers
    for headers in ([("Cookie", f"{TOKEN}={session_id}0")], [("Cookie", f"x{TOKEN}={session_id}")], []):
        assert seen(front, headers)["x-jay-session"] == ["none"], headers
    for method, path in (
        ("POST", "/"),
        ("DELETE", "/a?require=live"),
        ("OPTIONS", "/%0A"),
        ("PUT", "/" + "p" * 5000),
    ):
        headers = [("Cookie", f"{TOKEN}={session_id}"), ("Content-Length", "0"), ("Origin", "https://a.example")]
        headers += [("Access-Control-Request-Method", "PUT"), ("x-jay-api-version", "1999-01-01"), ("X-API-Key", "x")]
        assert seen(front, headers, method, path)["x-jay-session"] == ["live"], method


def test_long_headers_of_a_visitor_cannot_fail_it(front: Process, jay: Process) -> None:
    """Long and many headers of a visitor do not hide the session."""
    session_id = create(jay)
    cookie = ("Cookie", f"a={'x' * 3500}; {TOKEN}={session_id}; b={'y' * 3500}")
    headers = [cookie, *((f"X-Many-{number}", "z") for number in range(80)), ("X-Jay-Tracking", "w" * 3000)]
    assert seen(front, headers)["x-jay-session"] == ["live"]
    baggage = ",".join(f"key-{number}=value" for number in range(400))
    found = seen(front, [("Cookie", f"{TOKEN}={session_id}"), ("baggage", baggage)])
    assert found["x-jay-session"] == ["live"]
    assert found["baggage"][0].startswith(f"session.id={ref_of(session_id)},key-0=value,")


def test_an_answer_is_used_again_for_5_seconds_but_never_its_baggage(kind: str, front: Process, jay: Process) -> None:
    """An answer is stored by session. One with baggage is neither stored nor read."""
    if kind not in WITH_CACHE:
        pytest.skip("the configuration has no cache")
    one, other = create(jay), create(jay)
    for _ in range(10):
        for session_id in (one, other):
            found = seen(front, [("Cookie", f"{TOKEN}={session_id}")])
            assert found["baggage"] == [f"session.id={ref_of(session_id)}"]
    for number in range(5):
        found = seen(front, [("Cookie", f"{TOKEN}={one}"), ("baggage", f"a={number}")])
        assert found["baggage"] == [f"session.id={ref_of(one)},a={number}"]
    assert seen(front, [("Cookie", f"{TOKEN}={one}")])["baggage"] == [f"session.id={ref_of(one)}"]
    # Those with baggage, and one in 5 s.
    assert 5 + 1 <= eventually(lambda: (number := asked(jay, one)) >= 5 + 1 and number, "the log is written") <= 5 + 3
    assert 1 <= asked(jay, other) <= 3
    jay.request("DELETE", token=one)
    eventually(lambda: seen(front, [("Cookie", f"{TOKEN}={one}")])["x-jay-session"] == ["none"], "the answer expires")


def asked(jay: Process, session_id: str) -> int:
    """Return the number of questions about a session that reached the service."""
    return sum(ref_of(session_id) in line and "/forward-auth" in line for line in jay.log)


def seconds_of(ask: Callable[[], object]) -> float:
    """Return the median duration of a request."""
    durations = []
    for _ in range(15):
        began = time.monotonic()
        ask()
        durations.append(time.monotonic() - began)
    return statistics.median(durations)


@pytest.mark.parametrize("failure", ["hangs", "is away"])
def test_the_application_is_reached_while_the_service_fails(
    kind: str, front: Process, jay: Process, failure: str
) -> None:
    """Without an answer the session is unknown, and the request waits at most 50 ms."""
    if kind in FAILS_CLOSED:
        pytest.skip("the proxy denies requests without an answer")
    session_id = create(jay)
    visitor = [("Cookie", f"{TOKEN}={session_id}"), ("baggage", "session.id=forged,a=1"), *FORGED]

    def ask() -> dict[str, list[str]]:
        return ours(seen(front, visitor))

    assert ask()["x-jay-session"] == ["live"]
    usual = seconds_of(ask)
    if failure == "hangs":
        for pid in (*jay.worker_pids, jay.popen.pid):
            os.kill(pid, signal.SIGSTOP)
    else:
        jay.stop()
    try:
        assert ask() == {"x-jay-session": ["unknown"]}
        assert seconds_of(ask) - usual <= MAX_ADDED_SECONDS
    finally:
        if failure == "hangs":
            for pid in (jay.popen.pid, *jay.worker_pids):
                os.kill(pid, signal.SIGCONT)
    if failure == "hangs":
        eventually(lambda: ask()["x-jay-session"] == ["live"], "the service answers again")
