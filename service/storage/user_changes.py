"""Replaces sessions whose user changes, by the scripts set_user.lua and end.lua.

A session with another user, or with none, has a new id. The old key then holds a
pointer to the successor, so that the old id can still withdraw the consent or end the
session.

Where one script may name keys of all shards, and where the successor is in the same
shard, which is always so when consent is withdrawn, a change is one atomic step. In a
cluster, a session that gets a user may move to the shard of the user's index. That
takes three steps:

    begin    shard of the session    It stays live, and names its successor.
    create   shard of the successor  Both are live.
    finish   shard of the session    It becomes a pointer.

A request that meets a session between the steps does not wait for the other request,
which may have failed. It fences the successor off: a tombstone keeps `create` from
storing it. Then it cancels the change, or finishes it when the successor was stored
before. So no end and no withdrawal leaves a successor behind that has the user id.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial

from service import errors
from service.counts import DAY
from service.sessions import MAX_USER_CHANGES, Session, SessionFactory
from service.storage.connection import RedisConnection
from service.storage.keyspace import ERASED_SECONDS, Keyspace, Lifetimes
from service.storage.pipelines import read
from service.storage.session_value import PENDING, POINTER, decode, encode, successor_key
from service.storage.user_secrets import UserSecrets
from service.users import ConsentStore

# Each conflict means that another request has changed the same session.
_MAX_CONFLICTS = 16

# The first characters of a reply of end.lua that is not a source.
_PENDING, _POINTER = PENDING.decode(), POINTER.decode()

# Returns a live session with its value, or None.
_Find = Callable[[], Awaitable[tuple[Session | None, bytes]]]


class UserChanges(ConsentStore):
    """Changes the user of sessions, and ends the successors of sessions."""

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        factory: SessionFactory,
        *,
        lifetimes: Lifetimes,
        secrets: UserSecrets | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`secrets` records the secret under which sessions get a user."""
        self._connection = connection
        self._keyspace = keyspace
        self._factory = factory
        self._lifetimes = lifetimes
        self._secrets = secrets
        self._clock = clock
        self._set_user = connection.script("set_user", is_write=True)
        self._end = connection.script("end", is_write=True)

    async def set_user(self, candidates: Sequence[str], user_id: str | None) -> Session | None:
        """Replace the first live candidate. See `ConsentStore.set_user`."""
        if self._secrets is not None and user_id is not None:
            await self._secrets.record(self._lifetimes.session)
        session = await self._change(partial(self._live_session, candidates), user_id)
        if session is not None and user_id is None and len(candidates) > 1:
            for session_id in candidates:
                await self._change(partial(self._successor, session_id), None)
        return session

    async def _change(self, find: _Find, user_id: str | None) -> Session | None:
        """Replace the session that `find` returns, and repeat both after a conflict."""
        for _ in range(_MAX_CONFLICTS):
            session, value = await find()
            if session is None:
                return None
            if session.user_id == user_id:
                if await self._is_kept(session, value):
                    return session
                continue
            if user_id is not None and session.user_changes >= MAX_USER_CHANGES - 1:
                raise errors.TooManyRequests(
                    "The user of this session has changed too often. Create a new session with POST.",
                    session.seconds_left(self._clock()),
                )
            successor = self._factory.successor(session, user_id)
            if await self._replace(session, value, successor):
                return successor
        raise _too_many_conflicts()

    async def _is_kept(self, session: Session, value: bytes) -> bool:
        """Return whether a session still has this value, once the value is durable.

        The request that made the change may have failed, because the change was not
        durable in time. Its repetition finds the change, and has to wait for it.
        """
        get = ("GET", self._keyspace.session(session.id))
        return await self._connection.call_all("find", [get], is_write=True) == [value]

    async def end_successor(self, reply: str) -> str:
        """End the session that a reply of end.lua refers to.

        Returns its source, or the empty string when it is not live. Raises
        StoreUnavailable and Overloaded.
        """
        for _ in range(MAX_USER_CHANGES + _MAX_CONFLICTS):
            if not refers_to_session(reply):
                return reply
            key = reply[1:]
            if reply.startswith(_PENDING):
                await self._settled(key)
            head = int(self._clock()), self._lifetimes.counts, ERASED_SECONDS
            [ended] = await self._end([key], (*head, 1, ""))
            reply = ended.decode()
        raise _too_many_conflicts()

    async def _live_session(self, candidates: Sequence[str]) -> tuple[Session | None, bytes]:
        """Return the first live session with its value.

        The candidates that are live come before those that have a live successor.
        """
        pointers = []
        keys = [self._keyspace.session(session_id) for session_id in candidates]
        for session_id, key, found in zip(candidates, keys, await self._values_of(keys), strict=True):
            value = await self._settled(key) if self._names_successor(found, PENDING) else found
            if self._names_successor(value, POINTER):
                pointers.append(value)
            elif value and (session := decode(session_id, value)):
                return session, value
        for value in pointers:
            session, newest = await self._newest(value)
            if session is not None:
                return session, newest
        return None, b""

    async def _successor(self, session_id: str) -> tuple[Session | None, bytes]:
        """Return the live successor of a session that was replaced, with its value."""
        return await self._newest(await self._settled(self._keyspace.session(session_id)))

    async def _newest(self, value: bytes) -> tuple[Session | None, bytes]:
        """Return the last session in a chain of successors, with its value."""
        key = ""
        while self._names_successor(value, POINTER):
            key = successor_key(value)
            value = await self._settled(key)
        session_id = self._keyspace.id_in(key)
        return (decode(session_id, value) if session_id and value else None), value

    async def _settled(self, key: str) -> bytes:
        """Return the value of a key whose session is not being replaced.

        The value of a key that does not exist is empty.
        """
        for _ in range(_MAX_CONFLICTS):
            [value] = await self._values_of([key])
            if not self._names_successor(value, PENDING):
                return value
            await self._settle(key, value)
        raise _too_many_conflicts()

    def _names_successor(self, value: bytes, kind: bytes) -> bool:
        """Return whether a value is of this kind, and not another program's."""
        return value[:1] == kind and self._keyspace.id_in(successor_key(value)) is not None

    async def _values_of(self, keys: Sequence[str]) -> list[bytes]:
        return [value or b"" for value in await read(self._connection, "find", [("GET", key) for key in keys])]

    async def _replace(self, session: Session, value: bytes, successor: Session) -> bool:
        """Replace a session. Returns False when it has changed meanwhile."""
        old, new = self._keyspace.session(session.id), self._keyspace.session(successor.id)
        change = _Change(old, value, new, encode(successor), successor.user_id, successor.user_digest)
        if not self._connection.groups_by_shard or session.id[0] == successor.id[0]:
            return await self._run("all", [old, new], change) == 1
        lifetime_ms = await self._run("begin", [old], change)
        if not lifetime_ms or not await self._run("create", [new], change, lifetime_ms):
            return False
        if await self._run("finish", [old], change):
            return True
        await self._run("retract", [new], change)
        return False

    async def _settle(self, key: str, pending: bytes) -> None:
        """Finish or cancel the change of a session that another request has begun."""
        change = _Change(key, pending.partition(b"\n")[2], successor_key(pending))
        was_created = await self._run("fence", [change.successor_key], change)
        await self._run("finish" if was_created else "cancel", [key], change)

    async def _run(self, step: str, keys: Sequence[str], change: "_Change", lifetime_ms: int = 0) -> int:
        now, top_size = int(self._clock()), 0  # a change adds no user to a top list
        head = (*astuple(self._lifetimes), top_size, now // DAY + 1, step, now, lifetime_ms, ERASED_SECONDS)
        words = (change.session_key, change.successor_key, change.value, change.successor_value)
        user = () if change.user_id is None else (change.user_id, change.user_digest or "")
        reply: int = await self._set_user(keys, (*head, *words, *user))
        return reply


@dataclass(frozen=True)
class _Change:
    """The keys and values of a session and its successor, and the successor's user.

    A change that is settled needs only the keys and the session's value.
    """

    session_key: str
    value: bytes
    successor_key: str
    successor_value: bytes = b""
    user_id: str | None = None
    user_digest: str | None = None


def refers_to_session(reply: str) -> bool:
    """Return whether a reply of end.lua is the key of a session that has to end too."""
    return reply.startswith((_PENDING, _POINTER))


def _too_many_conflicts() -> errors.Overloaded:
    return errors.Overloaded("other requests are changing the user of the same session")
