"""Forecasts when the memory of Redis is full, from its use in the last 15 minutes.

The forecast is linear. A session lives for `session.ttl_seconds`, a day by default. So
under a steady load memory stops growing after that time. `store_watch.py` takes the
samples.
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import linear_regression

from service.counts import DAY

# Long enough that client buffers and a rewrite of the append-only file do not look like
# a trend, and short enough that a flood of creations is noticed within minutes.
WINDOW_SECONDS = 900.0
MIN_SPAN_SECONDS = 120.0
MIN_SAMPLES = 3
# An open dashboard reads the status every few seconds. With this pause the window has
# 90 samples at most, and the calculation takes less than 0.1 ms.
MIN_PAUSE_SECONDS = 10.0
# A forecast beyond the horizon would come from growth of less than 0.15 % of the limit
# in the window, which is the noise of an idle server.
HORIZON_SECONDS = 7.0 * DAY
# Without a sample for this time, Redis does not answer and the forecast is not current.
STALE_SECONDS = 300.0
# A full Redis rejects writes and stays just below its limit, without growth.
FULL_SHARE = 0.99


class MemoryGrowth:
    """Fits a line to the samples of a sliding window of `WINDOW_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self._recorded_at = 0.0
        self._full_seconds: float | None = None

    def record(self, used_bytes: int | None, limit_bytes: int | None) -> None:
        """Add a sample.

        None means unknown, and a limit of 0 means that there is none.
        """
        if used_bytes is None or limit_bytes is None:
            return
        now = self._recorded_at = self._clock()
        samples = self._samples
        if samples and used_bytes < samples[-1][1] / 2:
            # This is another server, or most of the data was deleted.
            samples.clear()
        while samples and samples[0][0] < now - WINDOW_SECONDS:
            samples.popleft()
        if not samples or now - samples[-1][0] >= MIN_PAUSE_SECONDS:
            samples.append((now, used_bytes))
        self._full_seconds = self._forecast(used_bytes, limit_bytes)

    def full_seconds(self) -> float | None:
        """Return the seconds until memory is full at the current rate. 0 means full.

        Returns None without a limit, without growth, with too few samples, and beyond
        `HORIZON_SECONDS`.
        """
        is_stale = self._clock() - self._recorded_at > STALE_SECONDS
        return None if is_stale else self._full_seconds

    def _forecast(self, used_bytes: int, limit_bytes: int) -> float | None:
        if limit_bytes == 0:
            return None
        if used_bytes >= FULL_SHARE * limit_bytes:
            return 0.0
        samples = self._samples
        if len(samples) < MIN_SAMPLES or samples[-1][0] - samples[0][0] < MIN_SPAN_SECONDS:
            return None
        bytes_per_second = linear_regression(*zip(*samples, strict=True)).slope
        if bytes_per_second <= 0:
            return None
        seconds = (limit_bytes - used_bytes) / bytes_per_second
        return seconds if seconds <= HORIZON_SECONDS else None
