"""Combines single operations on sessions into batches."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.deferred import Deferred, Outcome
from service.sessions import Session, SessionStore
from service.storage.coalescer import BatchQueue, BatchQueueFactory
from service.storage.session_store import Candidates, RedisSessionStore
from service.storage.user_changes import UserChanges, refers_to_session


class BatchingSessionStore(SessionStore):
    """Sends the requests of one turn of the event loop to Redis as one batch."""

    def __init__(self, store: RedisSessionStore, coalesce: BatchQueueFactory, changes: UserChanges) -> None:
        self._connection = store.connection
        self._changes = changes
        self._create = coalesce(store.create_many, "create")
        self._create_once = coalesce(store.create_many_once, "create_once")
        self._find = coalesce(store.find_many, "find")
        self._end = coalesce(store.end_many, "end")
        self._coalescers: Mapping[str, BatchQueue[Any, Any]] = {
            "create": self._create,
            "create_once": self._create_once,
            "find": self._find,
            "end": self._end,
        }

    def waiting(self) -> Mapping[tuple[str, ...], int]:
        """Return the number of requests that wait for the next batch, by operation."""
        return {(operation,): coalescer.waiting for operation, coalescer in self._coalescers.items()}

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or is in flight."""
        return all(one.is_idle for one in self._coalescers.values())

    def create(self, session: Session) -> Deferred[bool]:
        """Add a session to the next batch. See `SessionStore.create`."""
        return self._create.submit(session)

    def create_once(self, session: Session, request_hash: str) -> Deferred[Session | None]:
        """Add a session to the next batch. See `SessionStore.create_once`."""
        return self._create_once.submit((session, request_hash))

    def find(self, candidates: Candidates) -> Deferred[Session | None]:
        """Add a read to the next batch. See `SessionStore.find`."""
        return self._find.submit(candidates)

    def end(self, candidates: Candidates) -> Deferred[Sequence[str]]:
        """Add ends to the next batch. See `SessionStore.end`."""
        ended = self._end.submit(candidates)
        return self._with_successors(ended) if self._connection.groups_by_shard else ended

    def _with_successors(self, ended: Deferred[Sequence[str]]) -> Deferred[Sequence[str]]:
        """Return the sources once the successors in other shards have ended too.

        Few sessions have one, so only those get a task.
        """
        result: Deferred[Sequence[str]] = Deferred()

        def proceed(replies: Outcome[Sequence[str]]) -> None:
            if isinstance(replies, Exception) or not any(map(refers_to_session, replies)):
                result.resolve(replies)
            else:
                Deferred.of(self._end_successors(replies)).add_callback(result.resolve)

        ended.add_callback(proceed)
        return result

    async def _end_successors(self, replies: Sequence[str]) -> Sequence[str]:
        return [source for reply in replies if (source := await self._changes.end_successor(reply))]

    async def close(self) -> None:
        """Wait until all batches have their results."""
        for coalescer in self._coalescers.values():
            await coalescer.close()
