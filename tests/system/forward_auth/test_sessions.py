"""The configurations of deploy/forward-auth/ pass sessions on, with real proxies."""

import pytest

from tests.support.forward_auth import access_log
from tests.support.forward_auth_visitor import FORGED, answered, create, ours, ref_of, seen
from tests.support.processes import TOKEN, Process, eventually

BODY_BYTES = 500_000  # nginx takes 1 MB by default
WITH_CACHE = {"nginx", "haproxy"}
WITH_UNDERSCORES = {"haproxy", "envoy"}  # the others drop header names with underscores


def test_the_application_gets_the_session_and_no_forgery(kind: str, front: Process, jay: Process) -> None:
    """The session's headers replace those of the visitor, which are all removed."""
    session_id = create(jay, "Jörg")
    ref = ref_of(session_id)
    visitor = [("baggage", "session.id=forged,a=1"), *FORGED]
    found = answered(front, [("Cookie", f"a=b; {TOKEN}={session_id}; c=d"), *visitor])
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
    assert answered(front, [("X-API-Key", "of the application")])["x-api-key"] == ["of the application"]
    eventually(lambda: ref in access_log(kind, front), "the ref is in the access log")
    assert session_id not in access_log(kind, front)
    assert ours(answered(front, visitor)) == {"x-jay-session": ["none"], "baggage": ["a=1"]}
    assert ours(answered(front, [("baggage", "session.id=forged")])) == {"x-jay-session": ["none"]}


def test_every_place_of_the_token_and_every_method_works(kind: str, front: Process, jay: Process) -> None:
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
        assert answered(front, headers)["x-jay-session"] == ["live"], headers
    for headers in ([("Cookie", f"{TOKEN}={session_id}0")], [("Cookie", f"x{TOKEN}={session_id}")], []):
        assert answered(front, headers)["x-jay-session"] == ["none"], headers
    expected = "live" if kind in WITH_UNDERSCORES else "none"
    assert answered(front, [(TOKEN, session_id)])["x-jay-session"] == [expected]
    # The query is the visitor's, and requires nothing.
    assert answered(front, [], path="/forward-auth?require=live")["x-jay-session"] == ["none"]
    for method, path in (
        ("POST", "/"),
        ("DELETE", "/a?require=live"),
        ("OPTIONS", "/%0A"),
        ("PUT", "/" + "p" * 5000),
    ):
        headers = [("Cookie", f"{TOKEN}={session_id}"), ("Content-Length", "0"), ("Origin", "https://a.example")]
        headers += [("Access-Control-Request-Method", "PUT"), ("x-jay-api-version", "1999-01-01"), ("X-API-Key", "x")]
        assert answered(front, headers, method, path)["x-jay-session"] == ["live"], method


def test_a_body_reaches_the_application(front: Process, jay: Process) -> None:
    """The question does not take the body of the visitor's request."""
    headers = [("Cookie", f"{TOKEN}={create(jay)}")]
    found = answered(front, headers, "POST", body=b"b" * BODY_BYTES)
    assert found["x-jay-session"] == ["live"]
    assert found["received-bytes"] == [str(BODY_BYTES)]


def test_long_headers_of_a_visitor_cannot_fail_it(front: Process, jay: Process) -> None:
    """Long and many headers of a visitor do not hide the session."""
    session_id = create(jay)
    cookie = ("Cookie", f"a={'x' * 3500}; {TOKEN}={session_id}; b={'y' * 3500}")
    headers = [cookie, *((f"X-Many-{number}", "z") for number in range(80)), ("X-Jay-Tracking", "w" * 3000)]
    assert answered(front, headers)["x-jay-session"] == ["live"]
    baggage = ",".join(f"key-{number}=value" for number in range(400))
    found = answered(front, [("Cookie", f"{TOKEN}={session_id}"), ("baggage", baggage)])
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
