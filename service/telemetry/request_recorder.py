"""Records answered requests, and passes them in batches to the log and the metrics.

For each request, a line of the logging module would add 10 % to the time of a GET, and
an observation of Prometheus's client 5 %.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from service.digests import SessionRefs
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.1  # a SIGKILL loses the records of at most this time
# 256 records fit the CPU cache. Batches of thousands cost 1 µs more per GET. Smaller
# batches cost as much, because the log is written more often.
BATCH_SIZE = 256

# Time in seconds since the epoch, method, route, status, duration in seconds, request
# id, and the name of the API key or "-". All strings are from fixed sets or made by the
# service. A plain tuple, because making an instance of a class takes ten times as long.
Answered: TypeAlias = tuple[float, str, str, int, float, str, str]
# The same, and the ref of the request's session or "".
RequestRecord: TypeAlias = tuple[float, str, str, int, float, str, str, str]
Sink: TypeAlias = Callable[[Sequence[RequestRecord]], None]


class RequestRecorder:
    """Collects records and passes them to its sinks in batches of at most 256.

    Sinks run in callbacks of the event loop, never inside a request. The recorder holds
    at most one batch and the requests answered in one turn of the event loop. The
    `on_flush` callbacks run 0.1 s after a record, when the sinks have seen all records.
    An idle recorder does nothing.

    A sink or callback that fails is logged, at most once a minute, and the others still
    run. A sink that failed does not get the same records again.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        on_flush: Sequence[Callable[[], None]] = (),
        clock: Callable[[], float] = time.monotonic,
        *,
        refs: SessionRefs | None = None,
    ) -> None:
        """`refs` adds the refs of sessions. Without it, records have none."""
        self._sinks = sinks
        self._refs = refs
        self._on_flush = on_flush
        self._records: list[RequestRecord] = []
        self._is_scheduled = False
        self._log_limit = LogLimit(clock)

    def record(self, answered: Answered, session_id: str | None = None) -> None:
        """Record an answered request, and the ref of the session that it was about."""
        records, refs = self._records, self._refs
        records.append((*answered, "" if refs is None or session_id is None else refs(session_id)))
        if len(records) == BATCH_SIZE:
            asyncio.get_running_loop().call_soon(self._pass_to_sinks)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._scheduled_flush)

    def flush(self) -> None:
        """Pass all records to the sinks, then run the flush callbacks."""
        self._pass_to_sinks()
        for callback in self._on_flush:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - any error is logged, and the other callbacks still run
                self._report(callback, error)

    def _scheduled_flush(self) -> None:
        self._is_scheduled = False
        self.flush()

    def _pass_to_sinks(self) -> None:
        records, self._records = self._records, []
        for begin in range(0, len(records), BATCH_SIZE):
            batch = records[begin : begin + BATCH_SIZE]
            for sink in self._sinks:
                try:
                    sink(batch)
                except Exception as error:  # noqa: BLE001 - as above
                    self._report(sink, error)

    def _report(self, failed: Callable[..., None], error: Exception) -> None:
        """Log an error, once a minute for each sink."""
        if self._log_limit.allows(failed):
            name = getattr(failed, "__qualname__", type(failed).__qualname__)
            _logger.error("%s failed: the log or the metrics lack some requests", name, exc_info=error)
