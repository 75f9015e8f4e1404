"""Sessions with a queue for each server of a cluster.

A server that hangs delays the batches in its own queue, and no others.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from service.deferred import Deferred
from service.sessions import Session, SessionStore, shard_of
from service.storage.coalescer import BatchQueueFactory
from service.storage.server_map import ServerMap
from service.storage.session_batches import BatchingSessionStore
from service.storage.session_store import Candidates, RedisSessionStore
from service.storage.user_changes import UserChanges


class SessionQueues(SessionStore):
    """Sends each request to the queue of the server that serves its shard."""

    def __init__(self, make_queue: Callable[[], BatchingSessionStore], servers: ServerMap) -> None:
        self._make_queue = make_queue
        self._servers = servers
        self._queues: dict[str, BatchingSessionStore] = {}

    def waiting(self) -> Mapping[tuple[str, ...], int]:
        """Return the number of requests that wait for the next batch, by operation."""
        total = Counter[tuple[str, ...]]()
        for queue in self._queues.values():
            total.update(queue.waiting())
        return total

    def create(self, session: Session) -> Deferred[bool]:
        """Create on the session's server. See `SessionStore.create`."""
        return self._queue_of(session.id).create(session)

    def create_once(self, session: Session, request_hash: str) -> Deferred[Session | None]:
        """Create on the session's server. See `SessionStore.create_once`."""
        return self._queue_of(session.id).create_once(session, request_hash)

    def find(self, candidates: Candidates) -> Deferred[Session | None]:
        """Read from the servers of the candidates. See `SessionStore.find`."""
        parts = self._parts(candidates)
        if len(parts) == 1:
            return parts[0][0].find(candidates)
        return Deferred.of(_first_live(candidates, parts))

    def end(self, candidates: Candidates) -> Deferred[Sequence[str]]:
        """End on the servers of the candidates. See `SessionStore.end`."""
        parts = self._parts(candidates)
        if len(parts) == 1:
            return parts[0][0].end(candidates)
        return Deferred.of(_end_all(parts))

    async def close(self) -> None:
        """Wait until all batches have their results."""
        for queue in list(self._queues.values()):
            await queue.close()

    def _queue_of(self, session_id: str) -> BatchingSessionStore:
        urls = self._servers.urls
        url = urls[shard_of(session_id)] if urls else ""
        if url not in self._queues:
            self._drop_unused(urls)
            self._queues[url] = self._make_queue()
        return self._queues[url]

    def _drop_unused(self, urls: Sequence[str]) -> None:
        """Forget the queues of servers that are gone, once they are empty."""
        for url, queue in list(self._queues.items()):
            if url not in urls and queue.is_idle:
                del self._queues[url]

    def _parts(self, candidates: Candidates) -> "Sequence[_Part]":
        parts: dict[BatchingSessionStore, list[str]] = {}
        for session_id in candidates:
            parts.setdefault(self._queue_of(session_id), []).append(session_id)
        return list(parts.items())


_Part = tuple[BatchingSessionStore, Sequence[str]]


# A full queue raises Overloaded at once. In a coroutine, the error is that of one part.
async def _find(queue: BatchingSessionStore, ids: Sequence[str]) -> Session | None:
    return await queue.find(ids)


async def _end(queue: BatchingSessionStore, ids: Sequence[str]) -> Sequence[str]:
    return await queue.end(ids)


async def _first_live(candidates: Candidates, parts: Sequence[_Part]) -> Session | None:
    """Return the first live candidate of several servers.

    Raises an error only when no earlier candidate is live.
    """
    results = await asyncio.gather(*(_find(*part) for part in parts), return_exceptions=True)
    by_id: dict[str, Session | BaseException] = {}
    for (_, ids), result in zip(parts, results, strict=True):
        if isinstance(result, BaseException):
            by_id |= dict.fromkeys(ids, result)
        elif result is not None:
            by_id[result.id] = result
    first = next((by_id[session_id] for session_id in candidates if session_id in by_id), None)
    if isinstance(first, BaseException):
        raise first
    return first


async def _end_all(parts: Sequence[_Part]) -> Sequence[str]:
    """End the candidates on all servers. Raises the first error after that."""
    results = await asyncio.gather(*(_end(*part) for part in parts), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [source for sources in results if not isinstance(sources, BaseException) for source in sources]


Queues = BatchingSessionStore | SessionQueues


def make_queues(store: RedisSessionStore, coalesce: BatchQueueFactory, changes: UserChanges) -> Queues:
    """Return a queue for each server, or the only queue if there is one server."""
    make_queue = partial(BatchingSessionStore, store, coalesce, changes)
    servers = store.connection.servers
    return SessionQueues(make_queue, servers) if servers.follows_redirects else make_queue()
