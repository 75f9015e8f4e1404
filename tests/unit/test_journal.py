import asyncio
import logging
from collections.abc import Sequence

import pytest

from service.telemetry.request_recorder import CHUNK, Entry, Journal

ENTRY: Entry = (0.0, "GET", "/x", 200, 0.1, "id", "-")


def numbered(count: int) -> list[Entry]:
    return [(float(number), *ENTRY[1:]) for number in range(count)]


async def test_entries_reach_sinks_in_order_and_once() -> None:
    """A full batch goes out in the next turn of the event loop, the rest with a flush, before the callbacks run."""
    seen: list[Entry] = []
    flushed: list[int] = []
    journal = Journal([seen.extend], [lambda: flushed.append(len(seen))])
    entries = numbered(CHUNK + 3)
    for entry in entries[:CHUNK]:
        journal.note(entry)
    await asyncio.sleep(0)
    assert seen == entries[:CHUNK]
    for entry in entries[CHUNK:]:
        journal.note(entry)
    await asyncio.sleep(0)
    assert (len(seen), flushed) == (CHUNK, [])
    journal.flush()
    assert (seen, flushed) == (entries, [CHUNK + 3])


async def test_no_sink_runs_inside_a_request() -> None:
    """Sinks wait for the end of the loop's turn, however many requests it answers, and get small batches."""
    batches: list[int] = []
    journal = Journal([lambda entries: batches.append(len(entries))])
    for entry in numbered(10 * CHUNK + 1):
        journal.note(entry)
        assert not batches
    await asyncio.sleep(0)
    assert batches == [CHUNK] * 10 + [1]


async def test_the_journal_holds_one_batch_and_one_turn_of_the_loop() -> None:
    """Under a lasting burst, memory does not grow: each turn of the loop leaves less than a batch behind."""
    seen = 0

    def sink(entries: Sequence[Entry]) -> None:
        nonlocal seen
        seen += len(entries)

    journal = Journal([sink])
    for turn in range(1, 51):
        for _ in range(700):
            journal.note(ENTRY)
        await asyncio.sleep(0)
        assert turn * 700 - seen < CHUNK


@pytest.mark.parametrize("failing", ["sink", "callback"])
async def test_one_that_fails_takes_nothing_from_the_others(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    """The other sinks get every entry, the other callbacks run, and the failing sink gets no entry twice."""
    given: list[int] = []
    seen: list[Entry] = []
    flushed: list[str] = []

    def fail(*entries: Sequence[Entry]) -> None:
        given.extend(map(len, entries))
        raise LookupError

    first = [fail] if failing == "sink" else []
    second = [fail] if failing == "callback" else []
    journal = Journal([*first, seen.extend], [*second, lambda: flushed.append("published")])
    entries = numbered(2 * CHUNK + 5)
    for entry in entries:
        journal.note(entry)
    await asyncio.sleep(0)
    journal.flush()
    assert seen == entries
    assert flushed == ["published"]
    assert given == ([CHUNK, CHUNK, 5] if failing == "sink" else [])
    assert "lack some requests" in caplog.text


async def test_a_failure_is_logged_once_a_minute_for_each_sink(caplog: pytest.LogCaptureFixture) -> None:
    """The first error is seen with its traceback, and a lasting one does not flood the log."""
    now = 0.0

    def one(_: Sequence[Entry]) -> None:
        raise LookupError

    def other(_: Sequence[Entry]) -> None:
        raise LookupError

    journal = Journal([one, other], clock=lambda: now)
    counts = []
    for now in (0.0, 59.9, 60.1, 100.0, 121.0):  # noqa: B007 - the clock reads it
        journal.note(ENTRY)
        journal.flush()
        counts.append(len(caplog.records))
    assert counts == [2, 2, 4, 4, 6]
    assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


async def test_what_is_not_a_failure_of_a_sink_surfaces() -> None:
    """A request to stop the process is not taken for a failing sink."""

    def stop(_: Sequence[Entry]) -> None:
        raise KeyboardInterrupt

    journal = Journal([stop])
    journal.note(ENTRY)
    with pytest.raises(KeyboardInterrupt):
        journal.flush()
