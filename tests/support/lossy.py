"""A store whose replies get lost: one server, Sentinel or Cluster behind proxies."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from unittest.mock import patch

from service.config.redis_servers import RedisServers
from tests.support.proxy import DECIDES, LossyProxy
from tests.support.servers import FakeRedisServer, RedisServer
from tests.support.topologies import ClusterGroup, SentinelGroup

ServerUrl = Callable[[RedisServers, str, int], str]


class LossyStore:
    """Puts a `LossyProxy` before each server of a store.

    Sentinels and nodes of a cluster name the servers themselves. So the service is made
    to replace their ports by those of the proxies, for the `url` of this object only.
    """

    def __init__(
        self, store: RedisServer | FakeRedisServer | SentinelGroup | ClusterGroup, loses_reply: DECIDES
    ) -> None:
        self._store = store
        self._loses_reply = loses_reply
        self._proxies: dict[int, LossyProxy] = {}
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Return the URL for clients."""
        if isinstance(self._store, SentinelGroup | ClusterGroup):
            return self._store.url + "?db=0"
        return self._proxies[self._store.port].url

    @property
    def lost(self) -> int:
        """Return the number of lost replies."""
        return sum(proxy.lost for proxy in self._proxies.values())

    async def __aenter__(self) -> Self:
        for port in self._ports():
            self._proxies[port] = await self._stack.enter_async_context(LossyProxy(port, self._loses_reply))
        self._stack.enter_context(patch.object(RedisServers, "server_url", self._server_url(RedisServers.server_url)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _ports(self) -> list[int]:
        match self._store:
            case SentinelGroup():
                return [server.port for server in self._store.servers]
            case ClusterGroup():
                return [node.port for node in self._store.nodes]
            case _:
                return [self._store.port]

    def _server_url(
        self, original: Callable[[RedisServers, str, int], str]
    ) -> Callable[[RedisServers, str, int], str]:
        proxies, lossy_url = self._proxies, self.url

        def server_url(servers: RedisServers, host: str, port: int) -> str:
            if servers._url == lossy_url and port in proxies:
                port = proxies[port].port
            return original(servers, host, port).partition("?")[0]

        return server_url
