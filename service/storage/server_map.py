"""The server of each shard, which all lanes of a worker share.

With Sentinel and Redis Cluster the servers change: `discovery.py` asks for them. The
map is refreshed when a command arrives at the wrong server or at one that does not
answer. With Sentinel it is refreshed twice a second, because the old primary may still
answer after another one was promoted.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from service.errors import StoreUnavailable
from service.storage.discovery import Discovery
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

# The shortest time between two refreshes, and with Sentinel the longest.
REFRESH_SECONDS = 0.5


class ServerMap:
    """Maps each shard to the URL of its server.

    `groups_by_shard` is whether a command may only have keys of one shard. The
    self-test sets it for a server in cluster mode. `scripts_span_shards` is whether a
    script may nevertheless use keys of all shards of its server. The self-test of a
    Cluster sets it.
    """

    def __init__(self, discovery: Discovery, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.groups_by_shard = discovery.groups_by_shard
        self.detects_groups = discovery.detects_groups
        self.scripts_span_shards = False
        self._discovery = discovery
        self._clock = clock
        self._urls: Sequence[str] = discovery.fixed_urls
        self._refreshed_at = -REFRESH_SECONDS
        self._refresh: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[], None]] = []
        self._log_limit = LogLimit()

    @property
    def urls(self) -> Sequence[str]:
        """The URL of each shard's server. Empty until the servers are known."""
        return self._urls

    def shards_of(self, url: str) -> Sequence[int]:
        """Return the shards of a server."""
        return [shard for shard, one in enumerate(self._urls) if one == url]

    @property
    def follows_redirects(self) -> bool:
        """Whether another server may be used than the one in the settings."""
        return not self._discovery.fixed_urls

    def on_refresh(self, listener: Callable[[], None]) -> None:
        """Call a function after each refresh, which may have found other servers."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Find the servers, unless they are known. Raises StoreUnavailable."""
        if self._urls:
            return
        self.refresh_soon()
        if self._refresh is not None:
            await asyncio.shield(self._refresh)
        if not self._urls:
            raise StoreUnavailable(f"the servers of Redis are not known: {self._discovery.problem}")

    def moved(self, shard: int, host: str, port: int) -> str:
        """Record that a shard has moved. Returns the URL of its server."""
        url = self._discovery.server_url(host, port)
        if self._urls and self._urls[shard] != url:
            self._urls = [*self._urls[:shard], url, *self._urls[shard + 1 :]]
            self.refresh_soon()
        return url

    def url_of(self, host: str, port: int) -> str:
        """Return the URL of a server."""
        return self._discovery.server_url(host, port)

    def refresh_soon(self) -> None:
        """Ask for the servers in the background, twice a second at most."""
        is_busy = self._refresh is not None and not self._refresh.done()
        if self._discovery.fixed_urls or is_busy or self._clock() - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = self._clock()
        self._refresh = asyncio.get_running_loop().create_task(self._update())

    def start_polling(self) -> None:
        """Refresh the map twice a second if the servers change without notice."""
        if self._discovery.needs_polling:
            self._polling = asyncio.get_running_loop().create_task(self._poll())

    async def close(self) -> None:
        """Stop refreshing."""
        for task in filter(None, (self._polling, self._refresh)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._discovery.close()

    async def _poll(self) -> None:
        while True:
            self.refresh_soon()
            if self._refresh is not None:
                await asyncio.shield(self._refresh)
            await asyncio.sleep(REFRESH_SECONDS)

    async def _update(self) -> None:
        try:
            urls = await self._discovery.find()
        except Exception:  # a bug, which must not stop the polling
            if self._log_limit.allows("bug"):
                _logger.exception("the servers of Redis cannot be found")
            return
        if urls is None:
            if self._log_limit.allows("discovery"):
                _logger.error("the servers of Redis are not known: %s. Check redis.url", self._discovery.problem)
            return
        if self._log_limit.reset():
            _logger.warning("the servers of Redis are known again")
        self._urls = urls
        for listener in self._listeners:
            listener()
