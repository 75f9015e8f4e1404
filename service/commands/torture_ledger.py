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
    """An acknowledged session. Times are of the monotonic clock.

    `user_id` is the user after the last acknowledged change, and `wanted_user_id` the
    user after a change whose answer is unknown. None is a guest.
    """

    session_id: str = field(repr=False)
    acknowledged_at: float
    ended_at: float | None = None
    user_id: str | None = field(default=None, repr=False)
    wanted_user_id: str | None = field(default=None, repr=False)


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
        self.replaced = Pool()  # ids from before a change of consent
        self.uncertain = Pool()  # the answer to their DELETE is unknown
        self.unsettled = Pool()  # the answer to their change of consent is unknown
        self.created = Outcomes()
        self.ends = Outcomes()
        self.changes = Outcomes()
        self.given = 0  # acknowledged changes that set a user id
        self.withdrawn = 0  # acknowledged changes that removed one
        self.missed = 0  # a request for a live session was answered with 404
        self.late_reads = 0  # an ended or replaced id was answered with 200
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

    def replace(self, entry: Entry, session_id: str, user_id: str | None) -> None:
        """Record that a session goes on under another id, after a change of consent."""
        now = time.monotonic()
        self.given += user_id is not None
        self.withdrawn += user_id is None
        entry.ended_at = now
        self.replaced.add(entry)
        self.live.add(Entry(session_id, now, user_id=user_id))

    def settle(self, entry: Entry, session_id: str) -> None:
        """Record the answer to a repeated change whose first answer is unknown."""
        self.changes.unknown -= 1
        self.changes.acknowledged += 1
        self.replace(entry, session_id, entry.wanted_user_id)

    def close(self) -> None:
        """Note the end of the load."""
        self._closed_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """The age of the ledger, at most until it was closed."""
        return self._end() - self._started_at

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return len(self.served_at) + len(self.failed_at)

    @property
    def longest_gap_seconds(self) -> float:
        """The longest time without a served request, from start to end."""
        moments = pairwise([self._started_at, *self.served_at, self._end()])
        return max(after - before for before, after in moments)

    def failing_until(self, moment: float) -> float:
        """Return the seconds from a moment to the last failure, at least 0."""
        return max(0.0, max(self.failed_at, default=moment) - moment)

    @property
    def not_ended(self) -> int:
        """The number of created sessions whose end is not acknowledged."""
        return self.created.acknowledged - self.ends.acknowledged

    def _end(self) -> float:
        return time.monotonic() if self._closed_at is None else self._closed_at


@dataclass(slots=True)
class Findings:
    """The state of the sessions after the load.

    `found` sessions live, `gone` ones have ended, `replaced` ids are dead, and all of
    this is right. `lost`, `revived` and `returned` are those that should be in the
    other state. `other_user` live with another user id, or should have none.
    """

    found: int = 0
    gone: int = 0
    replaced: int = 0
    lost: list[Entry] = field(default_factory=list)
    revived: list[Entry] = field(default_factory=list)
    returned: list[Entry] = field(default_factory=list)
    other_user: list[Entry] = field(default_factory=list)

    @property
    def undone(self) -> list[Entry]:
        """The sessions and ids whose last acknowledged change is lost."""
        return self.lost + self.revived + self.returned


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of the service for one source."""

    created: int
    ended: int
    given: int = 0
    withdrawn: int = 0

    def since(self, before: "Counted") -> "Counted":
        """Return what was counted after earlier counts."""
        return Counted(
            self.created - before.created,
            self.ended - before.ended,
            self.given - before.given,
            self.withdrawn - before.withdrawn,
        )


def problems(ledger: Ledger, findings: Findings, counted: Counted | None) -> list[str]:
    """Return a sentence for each promise that was not kept."""
    lost, revived, returned = len(findings.lost), len(findings.revived), len(findings.returned)
    other_user = len(findings.other_user)
    nothing = "The service acknowledged no session during the load, so this run shows nothing. See the answers above."
    sentences = [
        (not ledger.created.acknowledged, nothing),
        (lost, f"{quantity(lost, 'acknowledged session')} did not survive."),
        (revived, f"{quantity(revived, 'session')} came back after an acknowledged end."),
        (returned, f"{quantity(returned, 'session')} came back under the id from before a change of consent."),
        (other_user, f"{quantity(other_user, 'session')} did not keep an acknowledged change of consent."),
        (ledger.missed, f"{quantity(ledger.missed, 'request')} for a live session got 404."),
        (ledger.late_reads, f"{quantity(ledger.late_reads, 'read')} of an ended session or a replaced id got 200."),
    ]
    found = [sentence for number, sentence in sentences if number]
    if counted is not None:
        for name, number, least, unknown in (
            ("created", counted.created, ledger.created.acknowledged, ledger.created.unknown),
            ("ended", counted.ended, ledger.ends.acknowledged, ledger.ends.unknown),
            ("given a user id", counted.given, ledger.given, 0),
            ("without their user id", counted.withdrawn, ledger.withdrawn, 0),
        ):
            most = least + unknown
            if not least <= number <= most:
                sessions = quantity(number, "session")
                bounds = f"{least:,}" if least == most else f"{least:,} to {most:,}"
                found.append(f"The service counted {sessions} as {name}, but the right number is {bounds}.")
    return found
