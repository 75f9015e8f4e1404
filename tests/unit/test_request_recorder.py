import asyncio
import logging
from collections.abc import Sequence

import pytest

from service.digests import SessionRefs
from service.telemetry.request_recorder import BATCH_SIZE, Answered, RequestRecord, RequestRecorder

ENTRY: Answered = (0.0, "GET", "/x", 200, 0.1, "id", "-")
RECORD: RequestRecord = (*ENTRY, "")


def numbered(count: int) -> list[RequestRecord]:
    return [(float(number), *RECORD[1:]) for number in range(count)]


async def test_records_reach_sinks_in_order_and_once() -> None:
    """A full batch is written in the next turn of the event loop.

    A flush writes the rest, then runs the flush callbacks.
    """
    seen: list[RequestRecord] = []
    flushed: list[int] = []
    recorder = RequestRecorder([seen.extend], [lambda: flushed.append(len(seen))])
    records = numbered(BATCH_SIZE + 3)
    for entry in records[:BATCH_SIZE]:
        recorder.record(entry[:-1])
    await asyncio.sleep(0)
    assert seen == records[:BATCH_SIZE]
    for entry in records[BATCH_SIZE:]:
        recorder.record(entry[:-1])
    await asyncio.sleep(0)
    assert (len(seen), flushed) == (BATCH_SIZE, [])
    recorder.flush()
    assert (seen, flushed) == (records, [BATCH_SIZE + 3])


async def test_each_record_reaches_the_sinks_soon() -> None:
    """A record after a flush starts the timer again, and waits for no other record."""
    seen: list[RequestRecord] = []
    recorder = RequestRecorder([seen.extend])
    for number in range(1, 4):
        recorder.record((0.0, "GET", "/x", 200, 0.1, str(number), "-"))
        async with asyncio.timeout(30):
            while len(seen) < number:
                await asyncio.sleep(0.01)
    assert [record[5] for record in seen] == ["1", "2", "3"]


async def test_no_sink_runs_inside_a_request() -> None:
    """Sinks run after the turn of the event loop, with small batches."""
    batches: list[int] = []
    recorder = RequestRecorder([lambda records: batches.append(len(records))])
    for entry in numbered(10 * BATCH_SIZE + 1):
        recorder.record(entry[:-1])
        assert not batches
    await asyncio.sleep(0)
    assert batches == [BATCH_SIZE] * 10 + [1]


async def test_the_recorder_holds_one_batch_and_one_turn_of_the_loop() -> None:
    """Under a lasting burst, less than a batch stays after each turn."""
    seen = 0

    def sink(records: Sequence[RequestRecord]) -> None:
        nonlocal seen
        seen += len(records)

    recorder = RequestRecorder([sink])
    for turn in range(1, 51):
        for _ in range(700):
            recorder.record(ENTRY)
        await asyncio.sleep(0)
        assert turn * 700 - seen < BATCH_SIZE


@pytest.mark.parametrize("failing", ["sink", "callback"])
async def test_a_failing_sink_does_not_affect_the_others(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    """After an error of one sink or callback, the others get every record once."""
    given: list[int] = []
    seen: list[RequestRecord] = []
    flushed: list[str] = []

    def fail(*records: Sequence[RequestRecord]) -> None:
        given.extend(map(len, records))
        raise LookupError

    first = [fail] if failing == "sink" else []
    second = [fail] if failing == "callback" else []
    recorder = RequestRecorder([*first, seen.extend], [*second, lambda: flushed.append("published")])
    records = numbered(2 * BATCH_SIZE + 5)
    for entry in records:
        recorder.record(entry[:-1])
    await asyncio.sleep(0)
    recorder.flush()
    assert seen == records
    assert flushed == ["published"]
    assert given == ([BATCH_SIZE, BATCH_SIZE, 5] if failing == "sink" else [])
    assert "lack some requests" in caplog.text


async def test_a_failure_is_logged_once_a_minute_for_each_sink(caplog: pytest.LogCaptureFixture) -> None:
    """The first error is logged with its traceback, then at most one a minute."""
    now = 0.0

    def one(_: Sequence[RequestRecord]) -> None:
        raise LookupError

    def other(_: Sequence[RequestRecord]) -> None:
        raise LookupError

    recorder = RequestRecorder([one, other], clock=lambda: now)
    counts = []
    for now in (0.0, 59.9, 60.1, 100.0, 121.0):  # noqa: B007 - the clock reads it
        recorder.record(ENTRY)
        recorder.flush()
        counts.append(len(caplog.records))
    assert counts == [2, 2, 4, 4, 6]
    assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


async def test_an_error_that_stops_the_process_is_raised() -> None:
    """A `KeyboardInterrupt` in a sink reaches the caller."""

    def stop(_: Sequence[RequestRecord]) -> None:
        raise KeyboardInterrupt

    recorder = RequestRecorder([stop])
    recorder.record(ENTRY)
    with pytest.raises(KeyboardInterrupt):
        recorder.flush()


@pytest.mark.parametrize("is_logged", [True, False])
async def test_a_record_has_the_ref_of_its_session(is_logged: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """A record has a ref if refs are logged and the request is about one session."""
    seen: list[RequestRecord] = []
    refs = SessionRefs("a-secret")
    recorder = RequestRecorder([seen.extend], refs=refs if is_logged else None)
    session_id = "550e8400-e29b-41d4-a716-446655440000"
    recorder.record(ENTRY, session_id)
    recorder.record(ENTRY)
    recorder.flush()
    assert seen == [(*ENTRY, refs(session_id) if is_logged else ""), RECORD]
