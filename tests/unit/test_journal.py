from collections.abc import Sequence

import pytest

from service.journal import CHUNK, Entry, Journal

ENTRY: Entry = (0.0, "GET", "/x", 200, 0.1, "id", "-")


async def test_entries_are_handed_over_in_order_and_once() -> None:
    """By the hundreds while they come, the rest when it is asked for; then those follow who wait for all."""
    seen: list[Entry] = []
    flushed: list[int] = []
    journal = Journal([seen.extend], [lambda: flushed.append(len(seen))])
    entries: list[Entry] = [(float(number), *ENTRY[1:]) for number in range(CHUNK + 3)]
    for entry in entries[:CHUNK]:
        journal.note(entry)
    assert seen == entries[:CHUNK]
    for entry in entries[CHUNK:]:
        journal.note(entry)
    assert (len(seen), flushed) == (CHUNK, [])
    journal.flush()
    assert (seen, flushed) == (entries, [CHUNK + 3])


async def test_a_reader_that_fails_is_not_given_the_same_again() -> None:
    """What it could not take is lost, and nothing piles up."""
    given: list[int] = []

    def reader(entries: Sequence[Entry]) -> None:
        given.append(len(entries))
        raise LookupError

    journal = Journal([reader])
    for _ in range(2):
        journal.note(ENTRY)
        with pytest.raises(LookupError):
            journal.flush()
    assert given == [1, 1]
