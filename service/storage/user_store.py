"""The sessions of one user: export, counts and erasure.

Each call to Redis visits a bounded number of sessions, so that other calls do not wait.
A user's sessions are looked up under the current secret and under each previous one.
"""

import asyncio
import heapq
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import attrgetter

from redis import exceptions
from redis.asyncio import Redis

from service.counts import Bounds, CountRange, UserCounts
from service.digests import UserDigest
from service.errors import Overloaded, StoreUnavailable
from service.sessions import SECOND_US, SHARD_COUNT, Session, shard_of
from service.storage.connection import RedisConnection
from service.storage.keyspace import ERASED_SECONDS, RECEIPT_SECONDS, Keyspace, count_lifetime_seconds
from service.storage.retries import RETRY_PAUSES_SECONDS, Retries
from service.storage.script_replies import ErasureState
from service.storage.session_value import decode
from service.storage.user_secrets import UserSecrets
from service.users import UserStore

_logger = logging.getLogger(__name__)

# Sessions in one call, which then takes Redis 7.0 1 to 2 ms (docs/decisions.md).
FOUND_AT_ONCE = 250
ERASED_AT_ONCE = 100
# 1 ms of the event loop.
_MERGED_AT_ONCE = 1000


@dataclass(frozen=True)
class _Erasure:
    """Values that an erasure's calls share. `now` is in seconds since the epoch."""

    user_id: str
    now: int
    token: str
    retries: Retries


class RedisUserStore(UserStore):
    """Finds and erases the data of one user.

    All methods raise StoreUnavailable and Overloaded, and UnknownUserSecret while they
    could miss sessions.
    """

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        user_digest: UserDigest,
        *,
        retention_days: int,
        previous: Sequence[UserDigest] = (),
        pauses: Sequence[float] = RETRY_PAUSES_SECONDS,
    ) -> None:
        """`user_digest` belongs to the current secret, `previous` to earlier ones.

        `pauses` are those before the retries of a call, in seconds.
        """
        self._connection = connection
        self._keyspace = keyspace
        self._user_digests = (user_digest, *previous)
        self._pauses = pauses
        self._count_lifetime = count_lifetime_seconds(retention_days)
        self._secrets = UserSecrets(connection, keyspace, self._user_digests)
        self._page = connection.script("user")
        self._created = connection.script("created")
        self._erase = connection.script("erase", is_write=True)

    async def find_sessions(self, user_id: str) -> Sequence[Session]:
        """Return the live sessions, oldest first."""
        # Pages are sorted one by one and merged in parts. Sorting 100,000 sessions at
        # once would block the event loop for 0.1 s.
        by_age = attrgetter("started_at", "id")
        pages = [sorted(page, key=by_age) async for page in self._pages(user_id)]
        merged, found = heapq.merge(*pages, key=by_age), list[Session]()
        while part := list(islice(merged, _MERGED_AT_ONCE)):
            found += part
            await asyncio.sleep(0)
        return found

    async def count(self, user_id: str, requested: CountRange) -> UserCounts:
        """Return the user's live sessions and the bounds of the created ones.

        The bounds come from the top lists. The lower bound is at least the number of
        live sessions that were created for the user in the range. A session that got
        its user later is not one of them.
        """
        by_source: Counter[str] = Counter()
        live = at_least = at_most = 0
        async for page in self._pages(user_id):
            by_source.update(session.source for session in page)
            created = (session.started_at // SECOND_US for session in page if not session.user_changes)
            live += sum(requested.start <= moment < requested.end for moment in created)
        for shard in self._digests_by_shard(user_id):
            arguments = (user_id, requested.first_day, requested.last_day)
            days = range(requested.first_day, requested.last_day + 1)
            top_lists = (self._keyspace.top(shard, day) for day in days)
            low, high = await self._created([self._keyspace.base(shard)], arguments, top_lists)
            at_least, at_most = at_least + low, at_most + high
        at_least = max(at_least, live)
        return UserCounts(dict(sorted(by_source.items())), Bounds(at_least, max(at_most, at_least)))

    async def erase(self, user_id: str, now_us: int) -> int:
        """Erase the user in each shard that may have data of the user.

        See `UserStore.erase`.
        """
        erasure = _Erasure(user_id, now_us // SECOND_US, secrets.token_hex(8), Retries(self._pauses))
        await erasure.retries.run(self._secrets.check)
        by_shard = self._digests_by_shard(user_id)
        # After a change of the secret, top lists of other shards have the id too.
        others = (shard for shard in range(SHARD_COUNT) if shard not in by_shard)
        return sum([await self._erase_in(shard, by_shard.get(shard, ()), erasure) for shard in (*by_shard, *others)])

    async def rewrite_append_only_file(self) -> bool:
        """Start a rewrite of Redis's append-only file.

        Returns False when it does not start.
        """
        try:
            return all(await self._connection.run_on_each("rewrite", _rewrite))
        except (StoreUnavailable, Overloaded):  # the erasure itself is complete
            return False

    async def _erase_in(self, shard: int, digests: Sequence[str], erasure: _Erasure) -> int:
        """Erase in one shard, in which the user has these digests."""
        keys, lifetimes = [self._keyspace.base(shard)], (self._count_lifetime, RECEIPT_SECONDS, ERASED_SECONDS)
        user_id = erasure.user_id
        while True:
            head = (erasure.token, ERASED_AT_ONCE, erasure.now)
            arguments: Sequence[str | int | bytes] = (*head, *lifetimes, user_id, *digests)
            state, erased = await erasure.retries.run(partial(self._erase, keys, arguments))
            if state == ErasureState.DONE:
                return int(erased)
            if state == ErasureState.FOREIGN:
                _logger.error("foreign data under a key of an erasure: another program writes with our key prefix")
                raise StoreUnavailable("another program's data is in the way of an erasure")
            if state == ErasureState.BEGUN:
                # The script no longer needs the id, and a command log could keep it.
                user_id = ""

    def _digests_by_shard(self, user_id: str) -> dict[int, list[str]]:
        by_shard: dict[int, list[str]] = {}
        for digest in dict.fromkeys(user_digest(user_id) for user_digest in self._user_digests):
            by_shard.setdefault(shard_of(digest), []).append(digest)
        return by_shard

    async def _pages(self, user_id: str) -> AsyncIterator[Sequence[Session]]:
        """Yield the live sessions in pages, each session once."""
        retries, seen = Retries(self._pauses), set[str]()
        await retries.run(self._secrets.check)
        for shard, digests in self._digests_by_shard(user_id).items():
            # Sessions that an unfinished erasure has not ended yet are live. The
            # renamed index is read second, because an erasure that begins now moves
            # them there.
            for index in (name for digest in digests for name in self._keyspace.user_indexes(digest)):
                async for page in self._pages_of(shard, index, retries):
                    fresh = [one for one in page if one.user_id == user_id and one.id not in seen]
                    seen.update(session.id for session in fresh)
                    yield fresh

    async def _pages_of(self, shard: int, index: str, retries: Retries) -> AsyncIterator[Sequence[Session]]:
        keys, cursor = [self._keyspace.base(shard)], b"0"
        while True:
            cursor, page = await retries.run(partial(self._page, keys, (index, cursor, FOUND_AT_ONCE)))
            pairs = zip(page[::2], page[1::2], strict=True)
            yield [session for session_id, value in pairs if (session := decode(session_id.decode(), value))]
            if cursor == b"0":
                return


async def _rewrite(client: Redis) -> bool:
    """Start a rewrite.

    Returns False when Redis has no append-only file, because a rewrite would create one
    that stays. Also returns False when Redis refuses: a rewrite is in progress, or the
    ACL forbids it.
    """
    try:
        if not (await client.info("persistence")).get("aof_enabled"):
            return False
    except exceptions.NoPermissionError:
        pass
    try:
        await client.bgrewriteaof()
    except exceptions.ResponseError:
        return False
    return True
