"""Visitors get only their own session from the proxies of deploy/forward-auth/."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.forward_auth import proxy
from tests.support.forward_auth_visitor import FORGED, OURS, Headers, answered, create, ours, ref_of, seen
from tests.support.processes import TOKEN, Process, eventually
from tests.support.proxy import SlowLink, running

# Every character of a header name that is neither a letter, a digit nor a hyphen.
ALIASING = "!#$%&'*+.^_`|~"
VISITORS = 8
ROUNDS = 20


def aliases(name: str) -> set[str]:
    """Return names that a framework may read as `name`."""
    first, *rest = name.split("-")
    found = {separator.join((first, *rest)) for separator in ALIASING}
    for separator in ALIASING:
        for place in range(len(rest)):
            separators = ["-"] * len(rest)
            separators[place] = separator
            found.add(first + "".join(a + b for a, b in zip(separators, rest, strict=True)))
    return found


@pytest.mark.parametrize("name", OURS)
def test_no_spelling_of_a_header_reaches_the_application(front: Process, jay: Process, name: str) -> None:
    """Names that frameworks confuse with a header of forward-auth are removed."""
    forged = [(alias, "forged") for alias in sorted(aliases(name))]
    live = [("Cookie", f"{TOKEN}={create(jay)}")]
    for start in range(0, len(forged), 20):  # HAProxy takes 101 headers
        some = forged[start : start + 20]
        assert ours(answered(front, some)) == {"x-jay-session": ["none"]}
        assert "forged" not in str(ours(answered(front, live + some)))


def test_a_repeated_header_of_a_visitor_does_not_reach_the_application(front: Process, jay: Process) -> None:
    """All lines of a forged header are removed."""
    session_id = create(jay)
    # nginx before 1.23 reads the first line only.
    forged: Headers = [*FORGED, *FORGED, ("baggage", "a=1,session.id=forged"), ("baggage", "session.id=forged")]
    found = ours(answered(front, [("Cookie", f"{TOKEN}={session_id}"), *forged]))
    assert found["x-jay-session-ref"] == [ref_of(session_id)]
    assert found["baggage"] == [f"session.id={ref_of(session_id)},a=1"]
    assert "forged" not in str(found)


def test_a_visitor_cannot_remove_the_headers_with_connection(front: Process, jay: Process) -> None:
    """A header of forward-auth arrives even if the visitor names it in Connection."""
    session_id = create(jay, "user-1")
    visitor = [("Cookie", f"{TOKEN}={session_id}"), *FORGED]
    expected = ours(answered(front, visitor))
    assert expected["x-jay-user-id"] == ["user-1"]
    for name in (*OURS, "baggage"):
        for lines in ([f"close, {name}"], ["close", name.upper()], [f"{name},upgrade"]):
            assert ours(answered(front, [*visitor, *(("Connection", line) for line in lines)])) == expected, lines


def wrong_answers(front: Process, session_ids: Sequence[str]) -> list[str]:
    """Let all visitors ask at once, and return the answers that are not their own."""

    def ask(number: int, turn: int) -> str | None:
        ref = ref_of(session_ids[number])
        headers = [("Cookie", f"{TOKEN}={session_ids[number]}")]
        expected = f"session.id={ref}"
        if turn % 2:  # nginx and HAProxy store the answers without baggage
            headers.append(("baggage", f"visitor={number}"))
            expected += f",visitor={number}"
        found = ours(seen(front, headers))
        if found == {"x-jay-session": ["unknown"]}:
            return None
        is_own = found["x-jay-session-ref"] == [ref] and found["baggage"] == [expected]
        return None if is_own else str(found)

    with ThreadPoolExecutor(VISITORS) as threads:
        numbers = [number for _ in range(ROUNDS) for number in range(VISITORS)]
        answers = threads.map(ask, numbers, [turn for turn in range(ROUNDS) for _ in range(VISITORS)])
        return [answer for answer in answers if answer is not None]


def test_visitors_at_once_get_their_own_sessions(
    kind: str, jay: Process, application_port: int, tmp_path: Path
) -> None:
    """No answer goes to another visitor, also when answers arrive too late."""
    session_ids = [create(jay) for _ in range(VISITORS)]
    with (
        running(SlowLink(int(jay.url.rpartition(":")[2]), 0)) as link,
        proxy(kind, tmp_path / kind, f"http://127.0.0.1:{link.port}", application_port) as front,
    ):
        for delay_seconds in (0, 0.012, 0.04, 0):
            link.delay_seconds = delay_seconds
            assert wrong_answers(front, session_ids) == []
        headers = [("Cookie", f"{TOKEN}={session_ids[0]}")]
        eventually(lambda: seen(front, headers)["x-jay-session"] == ["live"], "the service answers in time again")
