"""Reads the sessions and counts of a test from Redis, for comparison with answers."""

import re

import redis.asyncio

from service.storage.keyspace import Keyspace
from service.storage.session_value import decode
from tests.storage.counts import read_counts
from tests.support.servers import Raw, RedisServer
from tests.support.topologies import ClusterGroup, SentinelGroup

_SESSION = re.compile(r"\}([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")


class StoredSessions:
    """Reads the keys of a test from the servers, without the proxies."""

    def __init__(self, store: RedisServer | SentinelGroup | ClusterGroup, prefix: str) -> None:
        self._keyspace = Keyspace(prefix)
        self._raw: Raw
        if isinstance(store, ClusterGroup):
            port = store.nodes[0].port
            self._raw = redis.asyncio.RedisCluster(host="127.0.0.1", port=port, decode_responses=True)
        else:
            server = store.servers[0] if isinstance(store, SentinelGroup) else store
            self._raw = redis.asyncio.Redis.from_url(server.url, decode_responses=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._raw.aclose()

    async def keys(self) -> list[str]:
        """Return all keys. Fails if one has no lifetime."""
        keys = [key async for key in self._raw.scan_iter(match=self._keyspace.pattern, count=1000)]
        async with self._raw.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.ttl(key)
            lifetimes = await pipeline.execute()
        endless = [key for key, lifetime in zip(keys, lifetimes, strict=True) if lifetime == -1]
        assert not endless, endless
        return keys

    async def sessions(self) -> dict[str, str | None]:
        """Return the user id of each live session by session id."""
        ids = [found[1] for key in await self.keys() if (found := _SESSION.search(key)) and "test:" not in key]
        values = {one: await self._raw.get(self._keyspace.session(one)) for one in ids}
        live = {one: decode(one, value.encode()) for one, value in values.items() if value}
        return {one: session.user_id for one, session in live.items() if session}

    async def check_counts(self) -> int:
        """Fail unless the counts match the sessions. Returns the number of created."""
        counts, live = await read_counts(self._raw, self._keyspace), len(await self.sessions())
        assert counts.live_by_hour.total() == counts.live_by_minute.total() == live
        assert counts.created.total() == counts.ended.total() + live
        return counts.created.total()
