"""Sessions in Redis, in batches.

Every operation is one round trip and one atomic step. Once an hour, a creation for a
user makes another one (`user_secrets.py`). An operation is idempotent: called again
after a lost reply, it returns the same and counts once.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import partial
from itertools import chain
from typing import TypeVar

from service.counts import DAY, MINUTE
from service.errors import PartlyUnavailable
from service.sessions import SECOND_US, Session, SessionBatchStore
from service.storage.connection import RedisConnection
from service.storage.keyspace import ERASED_SECONDS, Keyspace, Lifetimes
from service.storage.session_calls import Part, SessionCalls
from service.storage.session_value import decode, encode
from service.storage.user_secrets import UserSecrets

T = TypeVar("T")
Candidates = Sequence[str]
_OnceRequest = tuple[Session, str]  # a new session and the hash of its request
_Group = tuple[str, str, int]  # first digit of the id, source, minute
_MINUTE_US = MINUTE * SECOND_US


class RedisSessionStore(SessionBatchStore):
    """Creates, finds and ends sessions in batches. Each batch is one round trip."""

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        lifetimes: Lifetimes,
        *,
        top_users: int,
        secrets: UserSecrets | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`top_users` is the size of a top list.

        `secrets` records the secret under which sessions of users are created.
        """
        self.connection = connection
        self._keyspace = keyspace
        self._lifetimes = lifetimes
        # The first arguments of the scripts that create sessions.
        self._creation_head = (*astuple(lifetimes), top_users)
        self._secrets = secrets
        self._clock = clock
        self._calls = SessionCalls(connection)

    async def create_many(self, sessions: Sequence[Session]) -> Sequence[bool]:
        """Store new sessions and count them.

        Returns False for each whose id is taken.
        """
        await self._record_secret(sessions)
        session_ids = [session.id for session in sessions]
        flags = await self._calls.write("create", session_ids, partial(self._creation, sessions))
        return _all_of([flag if isinstance(flag, Exception) else flag == 1 for flag in flags])

    def _creation(self, sessions: Sequence[Session], part: Sequence[int]) -> Part:
        """Return the command that creates some sessions, and their order in it."""
        groups: dict[_Group, tuple[list[int], list[int]]] = {}
        for number in part:
            session = sessions[number]
            with_user, guests = groups.setdefault(_group_of(session), ([], []))
            (guests if session.user_id is None else with_user).append(number)
        order = [number for with_user, guests in groups.values() for number in (*with_user, *guests)]
        ordered = [sessions[number] for number in order]
        group_fields: list[str | int] = []
        for (_, source, minute), (with_user, guests) in groups.items():
            group_fields += (source, minute, len(with_user) + len(guests), len(with_user))
        users = [
            field or "" for one in ordered if one.user_id is not None for field in (one.user_id, one.user_digest)
        ]
        tomorrow = int(self._clock()) // DAY + 1
        keys = [self._keyspace.session(session.id) for session in ordered]
        head = (*self._creation_head, tomorrow, len(order), len(groups))
        arguments = (*head, *group_fields, *map(encode, ordered), *users)
        by_group = ([sessions[number] for number in (*some, *others)] for some, others in groups.values())
        declared = chain.from_iterable(self._keyspace.creation_keys(group, tomorrow) for group in by_group)
        return self._calls.script("create", keys, arguments, declared), order

    async def create_many_once(self, requests: Sequence[_OnceRequest]) -> Sequence[Session | None]:
        """Store a new session for each request hash that has none yet.

        Returns for each request the stored session, or None when it is not live any
        more.
        """
        await self._record_secret(session for session, _ in requests)
        session_ids = [session.id for session, _ in requests]
        replies = await self._calls.write("create_once", session_ids, partial(self._creation_once, requests))
        return _all_of([reply if isinstance(reply, Exception) else _session_in(reply) for reply in replies])

    def _creation_once(self, requests: Sequence[_OnceRequest], part: Sequence[int]) -> Part:
        """Return the command that answers some requests, and their order in it."""
        order = sorted(part, key=lambda number: _group_of(requests[number][0]))
        ordered = [requests[number] for number in order]
        tomorrow = int(self._clock()) // DAY + 1
        arguments: list[str | int | bytes] = [*self._creation_head, tomorrow, len(order)]
        for session, request_hash in ordered:
            moment = (session.source, session.started_at // _MINUTE_US)
            arguments += (request_hash, *moment, encode(session), session.user_id or "", session.user_digest or "")
        keys = [self._keyspace.session(session.id) for session, _ in ordered]
        requested = (self._keyspace.request(session.id, request_hash) for session, request_hash in ordered)
        by_session = (self._keyspace.creation_keys([session], tomorrow) for session, _ in ordered)
        declared = chain(requested, chain.from_iterable(by_session))
        return self._calls.script("create_once", keys, arguments, declared), order

    async def _record_secret(self, sessions: Iterable[Session]) -> None:
        if self._secrets is not None and any(session.user_id is not None for session in sessions):
            await self._secrets.record(self._lifetimes.session)

    async def find_many(self, requests: Sequence[Candidates]) -> Sequence[Session | None]:
        """Return for each request the session of the first live candidate, or None."""
        ids = [session_id for candidates in requests for session_id in candidates]
        values = iter(await self._values_of(ids))
        return [_first_live(candidates, values) for candidates in requests]

    async def find_each(self, session_ids: Sequence[str]) -> Mapping[str, Session]:
        """Return the live sessions among at least one id, by id."""
        values = await self._values_of(session_ids)
        return {
            session_id: session
            for session_id, value in zip(session_ids, values, strict=True)
            if value is not None and (session := decode(session_id, value))
        }

    async def _values_of(self, session_ids: Sequence[str]) -> Sequence[bytes | None]:
        keys = [self._keyspace.session(session_id) for session_id in session_ids]
        return await self._calls.read("find", session_ids, lambda part: ("MGET", *(keys[one] for one in part)))

    async def end_many(self, requests: Sequence[Candidates]) -> Sequence[Sequence[str]]:
        """End every live candidate.

        Returns for each request the sources of those it ended. In a cluster, the reply
        of end.lua takes the place of a source that `UserChanges.end_successor` ends.
        """
        session_ids = list(chain.from_iterable(requests))
        keys = [self._keyspace.session(session_id) for session_id in session_ids]
        any_shard = "" if self.connection.groups_by_shard else "1"
        head = (int(self._clock()), self._lifetimes.counts, ERASED_SECONDS)

        def ending(part: Sequence[int]) -> Part:
            some = [keys[position] for position in part]
            return self._calls.script("end", some, (*head, len(part), any_shard)), part

        replies = iter(await self._calls.write("end", session_ids, ending))
        return _all_of([_sources([next(replies) for _ in candidates]) for candidates in requests])


def _group_of(session: Session) -> _Group:
    """Return what the sessions have in common that share counters."""
    return session.id[0], session.source, session.started_at // _MINUTE_US


def _session_in(reply: tuple[bytes, bytes]) -> Session | None:
    """Return the live session in a reply of create_once.lua."""
    session_id, value = reply
    return decode(session_id.decode(), value) if value else None


def _sources(replies: Sequence[bytes | Exception]) -> Sequence[str] | Exception:
    """Return the sources of the ended sessions of a request, or its first error."""
    sources: list[str] = []
    for reply in replies:
        if isinstance(reply, Exception):
            return reply
        if reply:
            sources.append(reply.decode())
    return sources


def _all_of(results: Sequence[T | Exception]) -> Sequence[T]:
    """Return the results of a batch. Raises PartlyUnavailable if one is an error."""
    values = [result for result in results if not isinstance(result, Exception)]
    if len(values) < len(results):
        raise PartlyUnavailable(results)
    return values


def _first_live(candidates: Candidates, values: Iterator[bytes | None]) -> Session | None:
    """Return the first live session. `values` has one value for each candidate."""
    first = None
    for session_id in candidates:
        value = next(values)
        if first is None and value is not None:
            first = decode(session_id, value)
    return first
