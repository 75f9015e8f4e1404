"""The application is reached while a proxy of deploy/forward-auth/ gets no answer."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.forward_auth import access_log, proxy
from tests.support.forward_auth_visitor import FORGED, KEYS, Headers, answered, create, ours, seen
from tests.support.processes import TOKEN, Launch, Process, eventually, until_gone
from tests.support.proxy import SlowLink, running

MAX_ADDED_SECONDS = 0.05
BODY_BYTES = 500_000
# A rejection that arrives too late looks like no answer, so one request proves nothing.
ANSWERS = 20
# nginx rejects such a request itself.
MAX_LINE_BYTES = {"nginx": 8192}
# They pass on the whole Cookie. The others pass on the session ids.
WHOLE_COOKIE = {"caddy", "traefik"}


def seconds_of(ask: Callable[[], object]) -> float:
    """Return the duration of the fastest of 15 requests.

    Other work on the machine only adds to it.
    """
    durations = []
    for _ in range(15):
        began = time.monotonic()
        ask()
        durations.append(time.monotonic() - began)
    return min(durations)


@contextmanager
def failing(jay: Process, link: SlowLink, failure: str) -> Iterator[None]:
    """Let the service fail."""
    pids = (*jay.worker_pids, jay.popen.pid)
    if failure == "hangs":
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    elif failure == "is slow":
        link.delay_seconds = 0.1
    else:
        jay.stop(signal.SIGKILL if failure == "is killed" else signal.SIGTERM)
        until_gone(pids)  # without their supervisor, workers answer for a moment
    try:
        yield
    finally:
        link.delay_seconds = 0
        if failure == "hangs":
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("failure", ["hangs", "is away", "is killed", "is slow"])
def test_the_application_is_reached_while_the_service_fails(
    kind: str, jay: Process, application_port: int, tmp_path: Path, failure: str
) -> None:
    """Without an answer the session is unknown, and the request waits at most 50 ms."""
    session_id = create(jay)
    visitor = [("Cookie", f"{TOKEN}={session_id}"), ("baggage", "session.id=forged,a=1"), *FORGED]
    with running(SlowLink(int(jay.url.rpartition(":")[2]), 0)) as link:
        asked = f"http://127.0.0.1:{link.port}" if failure == "is slow" else jay.url
        with proxy(kind, tmp_path / kind, asked, application_port) as front:

            def ask() -> dict[str, list[str]]:
                return ours(seen(front, visitor))

            # On a loaded machine, a first answer may come too late.
            eventually(lambda: ask()["x-jay-session"] == ["live"], "an answer in time")
            usual = seconds_of(ask)
            with failing(jay, link, failure):
                assert ask() == {"x-jay-session": ["unknown"]}
                assert seconds_of(ask) - usual <= MAX_ADDED_SECONDS
                found = seen(front, visitor, "POST", body=b"b" * BODY_BYTES)
                assert found["received-bytes"] == [str(BODY_BYTES)]
                assert ours(found) == {"x-jay-session": ["unknown"]}
            if failure in {"hangs", "is slow"}:
                eventually(lambda: ask()["x-jay-session"] == ["live"], "the service answers again")
            logged = "\n".join((access_log(kind, front), *front.log, *front.output))
            assert "forged" not in logged
            assert session_id not in logged


def test_an_invalid_api_key_denies_no_request(
    kind: str, launch: Launch, application_port: int, tmp_path: Path
) -> None:
    """When the service rejects the proxy's key, the session is unknown."""
    jay = launch(JAY_API_KEYS=json.dumps(KEYS[:1]))
    visitor: Headers = [("Cookie", f"{TOKEN}={create(jay)}"), ("baggage", "session.id=forged,a=1"), *FORGED]
    with proxy(kind, tmp_path / kind, jay.url, application_port) as front:
        for _ in range(ANSWERS):
            assert ours(seen(front, visitor)) == {"x-jay-session": ["unknown"]}


def test_headers_too_long_for_the_service_deny_no_request(kind: str, front: Process, jay: Process) -> None:
    """Headers and paths that the service would reject fail no visitor's request."""
    if kind in MAX_LINE_BYTES:
        pytest.skip("the proxy rejects such a request itself")
    session = ("Cookie", f"{TOKEN}={create(jay)}; a={'x' * 9000}")
    expected = "unknown" if kind in WHOLE_COOKIE else "live"
    assert seen(front, [session])["x-jay-session"] == [expected]
    found = answered(front, [("Cookie", session[1][:100]), *FORGED], path="/" + "p" * 9000)
    assert found["x-jay-session"] == ["live"]
    assert ours(seen(front, [("baggage", "session.id=forged," + "a=1," * 2500), *FORGED])).keys() <= {"x-jay-session"}
