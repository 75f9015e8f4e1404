"""A store behind proxies, one for each server: one server, Sentinel or Cluster."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Generic, Self, TypeVar
from unittest.mock import patch

from service.config.redis_servers import RedisServers
from tests.support.proxy import Proxy
from tests.support.servers import FakeRedisServer, RedisServer
from tests.support.topologies import ClusterGroup, SentinelGroup

AnyProxy = TypeVar("AnyProxy", bound=Proxy)
Store = RedisServer | FakeRedisServer | SentinelGroup | ClusterGroup


class ProxiedStore(Generic[AnyProxy]):
    """Puts a proxy before each server of a store.

    Sentinels and nodes of a cluster name the servers themselves. So the service is made
    to replace their ports by those of the proxies, for the `url` of this object only.
    Sentinels have no proxies.
    """

    def __init__(self, store: Store, make_proxy: Callable[[int], AnyProxy], credentials: str = "") -> None:
        """`make_proxy` makes the proxy of a server, given its port.

        `credentials` are user and password in the URL, such as `user:password`.
        """
        self._store = store
        self._make_proxy = make_proxy
        self._credentials = f"{credentials}@" if credentials else ""
        self._stack = AsyncExitStack()
        self.by_port: dict[int, AnyProxy] = {}

    @property
    def url(self) -> str:
        """Return the URL for clients."""
        if isinstance(self._store, SentinelGroup | ClusterGroup):
            url = self._store.url + "?db=0"
        else:
            url = self.by_port[self._store.port].url
        return url.replace("://", f"://{self._credentials}", 1)

    @property
    def proxies(self) -> Sequence[AnyProxy]:
        """Return the proxies of all servers."""
        return list(self.by_port.values())

    async def __aenter__(self) -> Self:
        for port in self._ports():
            proxy = self._make_proxy(port)
            await self._stack.enter_async_context(proxy)
            self.by_port[port] = proxy
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
        by_port, own_url = self.by_port, self.url

        def server_url(servers: RedisServers, host: str, port: int) -> str:
            if servers._url == own_url and port in by_port:
                port = by_port[port].port
            return original(servers, host, port).partition("?")[0]

        return server_url
