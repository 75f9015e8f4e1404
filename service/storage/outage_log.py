"""Logs outages of Redis: a line at the start of each, and one at its end.

DESIGN
All lanes of a worker share the log, so that each outage is logged once.

Whole.    A server does not answer a lane, or the lane's connections cannot be used. The
          next success of a lane that has failed ends the outage. Another lane may have
          a connection that works all the time, as when Redis accepts no further ones.
          At most three starts of one problem are logged per minute, because a Redis
          that answers now and then would cause two each second.
Partial.  A server rejects some operations, such as creations without free memory. The
          next success of one that was rejected ends the outage, because others may
          succeed all the time. When rejections and successes alternate, one start and
          one end are logged per minute.
Replaced. After a failover, an outage ends with the success of a server that has taken
          over a shard of the one before.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.storage.redis_errors import advice_for, problem_name, reason_of
from service.storage.server_map import ServerMap
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

_WHOLE = ""
_WHOLE_STARTS = 3


@dataclass(frozen=True)
class _Outage:
    """The start of an outage was logged, and its end was not.

    `failed` has the names of the lanes that have failed in a whole outage, or of the
    operations in a partial one.
    """

    server: str
    shards: Sequence[int]
    log_limit: LogLimit
    failed: set[str] = field(default_factory=set)


class OutageLog:
    """Tracks the outages of the servers that a worker uses."""

    def __init__(self, servers: ServerMap, clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = servers
        self._clock = clock
        self._outages: dict[tuple[str, str], _Outage] = {}  # by URL and problem
        self._starts = LogLimit(clock)
        self._whole_starts = LogLimit(clock, lines=_WHOLE_STARTS)

    def failed(self, url: str, server: str, lane: str, operation: str, error: Exception, *, is_whole: bool) -> None:
        """Log the start of an outage, or another problem of one that is known.

        `server` is the name of the server in the log.
        """
        problem = problem_name(error)
        key = (url, _WHOLE if is_whole else problem)
        outage = self._outages.get(key)
        words = "cannot serve" if outage is None else "still cannot serve"
        if outage is None:
            if not (self._whole_starts if is_whole else self._starts).allows((*key, problem)):
                return
            outage = self._outages[key] = _Outage(server, self._servers.shards_of(url), LogLimit(self._clock))
        outage.failed.add(lane if is_whole else operation)
        if outage.log_limit.allows(problem):
            line = "%s %s (%s). %s. Requests are answered 503 until it can"
            _logger.error(line, server, words, reason_of(error), advice_for(error))

    def served(self, url: str, server: str, lane: str, operation: str) -> None:
        """Log the end of each outage that the success of an operation ends."""
        for key, outage in list(self._outages.items()) if self._outages else ():
            old_url, problem = key
            has_failed = (operation if problem else lane) in outage.failed
            if not has_failed or not self._serves_for(url, old_url, outage):
                continue
            del self._outages[key]
            place = "" if outage.server == server else f", in place of {outage.server}"
            _logger.warning("%s serves again%s%s", server, place, f" ({problem} has ended)" if problem else "")

    def _serves_for(self, url: str, old_url: str, outage: _Outage) -> bool:
        """Return whether a server is the one of an outage, or has taken its place."""
        if url == old_url:
            return True
        if old_url in self._servers.urls:
            return False
        return not outage.shards or not set(outage.shards).isdisjoint(self._servers.shards_of(url))
