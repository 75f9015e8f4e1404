"""The four lanes to Redis and the bounds of each. `server_lane.py` applies them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lane:
    """The bounds of one kind of calls.

    A call waits for one of the `connections`, for at most `wait_timeouts` times
    `redis.timeout_seconds`. At most `waiting` calls wait at a time. `repeats_timeouts`:
    a call that timed out is sent once more. Heavy reads are not repeated, because Redis
    may still be busy with the first. `measured_as` replaces the names of the operations
    in metrics.
    """

    name: str
    connections: int
    waiting: int
    wait_timeouts: float
    repeats_timeouts: bool
    measured_as: str | None = None


# At most four batches of each operation are in flight (MAX_IN_FLIGHT in
# `coalescer.py`). Usually there is one of each.
SESSIONS = Lane("sessions", connections=16, waiting=16, wait_timeouts=1, repeats_timeouts=True)
# A change of consent is several calls in a row, which are not in batches.
CONSENT = Lane("consent", connections=4, waiting=1024, wait_timeouts=1, repeats_timeouts=True)
# Every call is short (docs/reliability.md), so a long queue drains in time: 1,000 calls
# of 10 ms on 4 connections take 2.5 s.
OPERATORS = Lane("operators", connections=4, waiting=1024, wait_timeouts=40, repeats_timeouts=False)
READINESS = Lane("readiness", connections=1, waiting=4, wait_timeouts=1, repeats_timeouts=True, measured_as="check")
