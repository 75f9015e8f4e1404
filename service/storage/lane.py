"""The bounds of a lane to Redis: see connection.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lane:
    """The bounds of one kind of calls.

    A call waits for one of the `connections` for at most `wait_timeouts` times `redis.timeout_seconds`, behind at
    most `waiting` others. `repeats_timeouts`: a call that timed out is sent once more. Heavy reads are not, because
    Redis may still be busy with the first.
    """

    name: str
    connections: int
    waiting: int
    wait_timeouts: float
    repeats_timeouts: bool
    measured_as: str | None = None  # instead of the operations' own names


# One batch each of creations, reads and endings is in flight.
SESSIONS = Lane("sessions", connections=4, waiting=16, wait_timeouts=1, repeats_timeouts=True)
# Every call is short (docs/reliability.md), so a long line still moves: 1,000 calls of 10 ms on 4 connections.
OPERATORS = Lane("operators", connections=4, waiting=1024, wait_timeouts=40, repeats_timeouts=False)
READINESS = Lane("readiness", connections=1, waiting=4, wait_timeouts=1, repeats_timeouts=True, measured_as="check")
