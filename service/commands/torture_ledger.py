"""The ledger of `jay-tracking torture`: every operation, and what was found afterwards.

An operation is acknowledged when its success has arrived. It is refused when the
service says that it did nothing. Otherwise its outcome is unknown: a lost answer or a
503 does not say whether Redis has run it.
"""

import random
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from service.quantities import quantity


@dataclass(slots=True, eq=False)
class Entry:
    """An acknowledged session. Times are of the monotonic clock."""

    session_id: str = field(repr=False)
    acknowledged_at: float
    ended_at: float | None = None


@dataclass(slots=True)
class Outcomes:
    """How often one kind of operation was acknowledged, refused, or neither."""

    acknowledged: int = 0
    unknown: int = 0
    refused: int = 0


class Pool:
    """Entries of which any can be taken, in constant time."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Put an entry in."""
        self.entries.append(entry)

    def take(self) -> Entry | None:
        """Remove and return an entry by chance, or None when there is none."""
        if not self.entries:
            return None
        at = random.randrange(len(self.entries))  # noqa: S311 - no secret
        self.entries[at], self.entries[-1] = self.entries[-1], self.entries[at]
        return self.entries.pop()


class Ledger:
    """Every operation of a load. The sets of sessions never overlap."""

    def __init__(self) -> None:
        self.live = Pool()
        self.ended = Pool()
        self.uncertain = Pool()  # the answer to their DELETE is unknown
        self.created = Outcomes()
        self.ends = Outcomes()
        self.missed_reads = 0  # a live session was answered with 404
        self.late_reads = 0  # an ended session was answered with 200
        self.answers: Counter[str] = Counter()
        self._started_at = time.monotonic()
        self._closed_at: float | None = None
        self.served_at = array("d")
        self.failed_at = array("d")

    def note(self, answer: str, *, is_served: bool) -> None:
        """Record an answer, such as `503`, or the reason why none arrived.

        A request is served unless there is no answer, or one with a status from 500.
        """
        self.answers[answer] += 1
        (self.served_at if is_served else self.failed_at).append(time.monotonic())

    def close(self) -> None:
        """Note the end of the load."""
        self._closed_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the age of the ledger, at most until it was closed."""
        return self._end() - self._started_at

    @property
    def requests(self) -> int:
        """Return the number of requests so far."""
        return len(self.served_at) + len(self.failed_at)

    @property
    def longest_gap_seconds(self) -> float:
        """Return the longest time without a served request, from start to end."""
        moments = pairwise([self._started_at, *self.served_at, self._end()])
        return max(after - before for before, after in moments)

    def failing_until(self, moment: float) -> float:
        """Return the seconds from a moment to the last failure, at least 0."""
        return max(0.0, max(self.failed_at, default=moment) - moment)

    @property
    def not_ended(self) -> int:
        """Return the number of created sessions whose end is not acknowledged."""
        return self.created.acknowledged - self.ends.acknowledged

    def _end(self) -> float:
        return time.monotonic() if self._closed_at is None else self._closed_at


@dataclass(slots=True)
class Findings:
    """The state of the sessions after the load.

    `found` sessions live, `gone` ones have ended, and both are right. `lost` and
    `revived` are the sessions that should be in the other state.
    """

    found: int = 0
    gone: int = 0
    lost: list[Entry] = field(default_factory=list)
    revived: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of the service for one source."""

    created: int
    ended: int


def problems(ledger: Ledger, findings: Findings, counted: Counted | None) -> list[str]:
    """Return a sentence for each promise that was not kept."""
    lost, revived = len(findings.lost), len(findings.revived)
    nothing = "The service acknowledged no session during the load, so this run shows nothing. See the answers above."
    sentences = [
        (not ledger.created.acknowledged, nothing),
        (lost, f"{quantity(lost, 'acknowledged session')} did not survive."),
        (revived, f"{quantity(revived, 'session')} came back after an acknowledged end."),
        (ledger.missed_reads, f"{quantity(ledger.missed_reads, 'read')} of a live session got 404."),
        (ledger.late_reads, f"{quantity(ledger.late_reads, 'read')} of an ended session got 200."),
    ]
    found = [sentence for number, sentence in sentences if number]
    if counted is not None:
        for name, number, outcomes in (
            ("created", counted.created, ledger.created),
            ("ended", counted.ended, ledger.ends),
        ):
            least, most = outcomes.acknowledged, outcomes.acknowledged + outcomes.unknown
            if not least <= number <= most:
                sessions = quantity(number, "session")
                bounds = f"{least:,}" if least == most else f"{least:,} to {most:,}"
                found.append(f"The service counted {sessions} as {name}, but the right number is {bounds}.")
    return found
