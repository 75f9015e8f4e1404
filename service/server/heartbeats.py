"""Measures how long workers have been silent, not counting pauses of the supervisor."""

import time
from collections.abc import Callable, Mapping

# The supervisor checks once a second. A longer gap means that it was paused, and
# probably its workers too.
_LONGEST_STEP_SECONDS = 2.0


class AwakeTime:
    """A stopwatch that does not count a pause of the whole machine or process tree.

    The monotonic clock runs on in a frozen control group and after SIGSTOP. After such
    a pause a heartbeat looks too old, although the worker had no chance to send one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def step(self) -> float:
        """Return the seconds since the last step, at most two."""
        now = self._clock()
        elapsed, self._last = now - self._last, now
        return min(elapsed, _LONGEST_STEP_SECONDS)


class Heartbeats:
    """Measures the silence of each worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._awake = AwakeTime(clock)
        self._last: Mapping[int, tuple[float, float]] = {}

    def silences(self, beats: Mapping[int, float]) -> Mapping[int, float]:
        """Return the seconds since each heartbeat changed, by pid.

        `beats` has the latest heartbeats.
        """
        step, last = self._awake.step(), self._last
        self._last = {
            pid: (beat, last[pid][1] + step if pid in last and last[pid][0] == beat else 0.0)
            for pid, beat in beats.items()
        }
        return {pid: silence for pid, (_, silence) in self._last.items()}
