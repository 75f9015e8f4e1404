"""Counts and users, read from real servers: exact, or within the stated bounds.

All times are before today. The clock of Redis cannot be injected, so Redis is always
past every day that a test asks for.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import attrgetter

import pytest
import redis.asyncio

from service.counts import DAY, HOUR, Bounds, CountRange, Interval, SourceCounts, TopUsers, UserCounts
from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import SHARD_COUNT, Session
from service.storage.count_store import RedisCountStore
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from service.storage.session_store import RedisSessionStore
from service.storage.user_store import RedisUserStore
from tests.storage.conftest import MakeAnalytics, MakeStore, MakeUsers, Mint
from tests.storage.counts import all_keys, read_counts
from tests.support.lossy import LossyStore
from tests.support.servers import Raw, RedisServer

NOW = (int(time.time()) // DAY - 1) * DAY + 13 * HOUR + 14 * 60 + 15
NOW_US = NOW * 1_000_000
TODAY = NOW // DAY
by_start = attrgetter("started_at", "id")
NOTHING = UserCounts({}, Bounds(0, 0))


def days(first: int, last: int = 0) -> CountRange:
    """Return a range of whole days, given by their distance from NOW's day."""
    return CountRange((TODAY - first) * DAY, (TODAY - last + 1) * DAY, Interval.DAY)


def hours(first: int, last: int) -> CountRange:
    """Return a range of whole hours, given by their distance from NOW's hour."""
    return CountRange((NOW // HOUR - first) * HOUR, (NOW // HOUR - last + 1) * HOUR, Interval.HOUR)


def series(moments: Iterable[float], asked: CountRange) -> list[int]:
    """Return how many of the times are in each interval of a range."""
    step = DAY if asked.interval is Interval.DAY else HOUR
    found = Counter(int(moment // step) * step for moment in moments)
    return [found[start] for start in asked.starts]


@pytest.mark.parametrize("asked", [days(6), days(4, 2), hours(72, 5), hours(24, 0), hours(3, 3)], ids=repr)
async def test_counts_by_source_hour_and_day_match_a_model(
    server: RedisServer, make_store: MakeStore, analytics: RedisCountStore, mint: Mint, asked: CountRange
) -> None:
    """Counts of sessions and users by source and interval equal those of a model."""
    chance = random.Random(20261125)
    now = NOW - 5.5 * DAY
    store = await make_store(server.url, clock=lambda: now)
    live: list[tuple[str, Session]] = []
    # By source. The empty string is all sources.
    created: defaultdict[str, list[float]] = defaultdict(list)
    ended: defaultdict[str, list[float]] = defaultdict(list)
    seen: defaultdict[str, set[tuple[int, str]]] = defaultdict(set)
    while (now := now + chance.uniform(0, 3000)) < NOW:
        source, user = f"source-{chance.randrange(3)}", chance.choice([None, "u", "v", "w"])
        live.append((source, mint(now, source, user)))
        await store.create_many([live[-1][1]])
        for name in ("", source):
            created[name].append(now)
            seen[name] |= {(int(now // DAY), user)} if user else set()
        if chance.random() < 0.4:
            source, session = live.pop(chance.randrange(len(live)))
            await store.end_many([[session.id]])
            for name in ("", source):
                ended[name].append(now)
    counts = await analytics.count_sessions(asked, NOW)
    assert set(counts.by_source) == set(created) - {""}
    for name, figures in {"": counts.total, **counts.by_source}.items():
        sources = [one for one, session in live if session.started_at >= (NOW - DAY) // 60 * 60_000_000]
        users = {user for day, user in seen[name] if asked.first_day <= day <= asked.last_day}
        active = len(sources) if not name else sources.count(name)
        assert (figures.created, figures.ended) == (series(created[name], asked), series(ended[name], asked))
        assert (figures.active, figures.unique_users) == (active, len(users))
        if name:
            alone = await analytics.count_sessions(asked, NOW, name)
            assert (alone.total, alone.by_source) == (figures, {name: figures})
    if asked.interval is Interval.DAY:
        assert counts.unique_users == series([day * DAY for day, _ in seen[""]], asked)


@pytest.mark.parametrize("ttl_seconds", [100, 7200, DAY, 30 * DAY])
async def test_the_active_count_is_exact_to_the_minute(
    server: RedisServer, make_store: MakeStore, make_analytics: MakeAnalytics, mint: Mint, ttl_seconds: int
) -> None:
    """`active` is off by at most the sessions of the minute that is expiring."""
    store = await make_store(server.url, ttl_seconds=ttl_seconds)
    analytics = make_analytics(server.url, ttl_seconds=ttl_seconds)
    midnight = TODAY * DAY - ttl_seconds // DAY * DAY
    starts = [midnight + offset for offset in range(-2 * HOUR, 2 * HOUR, 7)]
    await store.create_many([mint(start) for start in starts])
    for now in range(midnight + ttl_seconds - 2 * HOUR, midnight + ttl_seconds + 2 * HOUR, 401):
        oldest_minute = (now - ttl_seconds) // 60 * 60
        counts = await analytics.count_sessions(days(0), now)
        assert counts.total.active == sum(start >= oldest_minute for start in starts), now


async def test_unique_users_are_merged_and_never_summed(
    store: RedisSessionStore, analytics: RedisCountStore, mint: Mint
) -> None:
    """A user counts once over days and sources, and guests do not count."""
    sessions = [(age, source, user) for age in range(3) for source in "ab" for user in range(20)]
    await store.create_many([mint(NOW - age * DAY, source, f"user-{user}") for age, source, user in sessions])
    await store.create_many([mint(NOW) for _ in range(50)])
    counts = await analytics.count_sessions(days(4), NOW)
    assert counts.unique_users == [0, 0, 20, 20, 20]
    assert counts.total.unique_users == 20
    assert {name: figures.unique_users for name, figures in counts.by_source.items()} == {"a": 20, "b": 20, "s": 0}
    assert (await analytics.count_sessions(days(4), NOW, "a")).unique_users == [0, 0, 20, 20, 20]


@pytest.mark.parametrize("age", [0, 2, 5])
async def test_a_new_user_invalidates_the_cached_counts(
    store: RedisSessionStore,
    analytics: RedisCountStore,
    raw: Raw,
    keyspace: Keyspace,
    mint: Mint,
    digest: UserDigest,
    age: int,
) -> None:
    """A cached count lasts an hour, but a new user in its range invalidates it."""
    await store.create_many([mint(NOW - day * DAY, user_id="u") for day in range(6)])
    assert (await analytics.count_sessions(days(5), NOW)).total.unique_users == 1
    unions = keyspace.base(int(digest("u")[0], 16)) + f"unions:{TODAY}"
    assert 3500 < await raw.ttl(unions) <= 3600
    for field in await raw.hkeys(unions):
        await raw.hset(unions, field, 7)
    assert (await analytics.count_sessions(days(5), NOW)).total.unique_users == 7
    same_shard = next(user for n in range(999) if digest(user := f"user-{n}")[0] == digest("u")[0])
    await store.create_many([mint(NOW - age * DAY, user_id=same_shard)])
    counts = await analytics.count_sessions(days(5), NOW, "s")
    assert counts.total.unique_users == 2
    assert counts.unique_users == [2 if day == age else 1 for day in (5, 4, 3, 2, 1, 0)]
    assert (await analytics.count_sessions(days(5), NOW)).total.unique_users == 2


async def test_more_sketches_than_one_command_takes_are_merged(
    store: RedisSessionStore, analytics: RedisCountStore, raw: Raw, keyspace: Keyspace, mint: Mint
) -> None:
    """3,600 sketches of 40 sources on 90 days are merged without leftovers."""
    for number in range(40):
        await store.create_many([mint(NOW - (2 * number + n) * DAY, f"s-{number}", f"user-{n}") for n in range(12)])
    for _ in range(2):
        counts = await analytics.count_sessions(days(89), NOW)
        assert counts.total.unique_users == 12
        assert {figures.unique_users for figures in counts.by_source.values()} == {12}
    assert not [key for n in range(SHARD_COUNT) for key in await all_keys(raw, keyspace.base(n) + "unions:scratch")]


async def test_foreign_data_among_many_sketches_counts_as_none(
    store: RedisSessionStore, analytics: RedisCountStore, raw: Raw, keyspace: Keyspace, mint: Mint
) -> None:
    """A sketch that Redis cannot merge counts as no users and leaves no scratch key."""
    for number in range(40):
        await store.create_many([mint(NOW, f"s-{number}", f"user-{n}") for n in range(30)])
    foreign = [keyspace.base(shard) + f"unique:{TODAY - 3}:s-7" for shard in range(SHARD_COUNT)]
    try:
        for key in foreign:
            await raw.rpush(key, "a list")
        assert (await analytics.count_sessions(days(89), NOW)).total.unique_users == 0
        for shard in range(SHARD_COUNT):
            assert not await all_keys(raw, keyspace.base(shard) + "unions:scratch")
    finally:
        await raw.delete(*foreign, *(keyspace.base(shard) + "unions:scratch" for shard in range(SHARD_COUNT)))


async def test_foreign_data_under_the_counts_reads_as_zeros(
    analytics: RedisCountStore, users: RedisUserStore, raw: Raw, keyspace: Keyspace, digest: UserDigest
) -> None:
    """Another program's values under the service's keys read as 0 and are kept."""
    names = [f"{kind}:{TODAY}{end}" for kind, end in (("day", ":s"), ("unique", ":s"), ("sources", ""), ("top", ""))]
    names += [f"unions:{TODAY}", f"minutes:{(NOW - DAY) // HOUR}:s", f"user:{digest('u')}"]
    keys = [keyspace.base(shard) + name for shard in range(SHARD_COUNT) for name in names]
    for key in keys:
        await raw.rpush(key, "a list")
    for source in (None, "s"):
        counts = await analytics.count_sessions(days(0), NOW, source)
        assert (counts.total, counts.unique_users) == (SourceCounts([0], [0], [0], [0], [0], [0]), [0])
    assert await analytics.top_users(days(0), 10) == TopUsers([], 0)
    assert await users.count("u", days(0)) == NOTHING
    assert await users.erase("u", NOW_US) == 0
    assert await raw.delete(*keys) == len(keys)


async def test_the_longest_list_of_top_users_is_read_whole(
    analytics: RedisCountStore, raw: Raw, keyspace: Keyspace
) -> None:
    """The user with the most sessions is found in a list of 1,000 users and a floor."""
    scores = {f"user-{number}": (2 + number) * TOP_SCORE_UNIT for number in range(1000)}
    await raw.zadd(keyspace.top(0, TODAY), scores | {"": TOP_SCORE_UNIT})
    found = await analytics.top_users(days(0), 1)
    assert found == TopUsers([("user-999", Bounds(1001, 1001))], 1000)
    await raw.delete(keyspace.top(0, TODAY))


async def test_invalid_names_are_skipped(analytics: RedisCountStore, raw: Raw, keyspace: Keyspace) -> None:
    """Invalid source names are skipped, and invalid UTF-8 breaks no user list."""
    keys = [keyspace.base(0) + f"sources:{TODAY}", keyspace.base(0) + f"top:{TODAY}"]
    await raw.sadd(keys[0], b"\xff", "a b", "s" * 65, "")
    await raw.zadd(keys[1], {b"\xff": 2**26})
    assert (await analytics.count_sessions(days(0), NOW)).by_source == {}
    assert [bounds for _, bounds in (await analytics.top_users(days(0), 10)).users] == [Bounds(1, 1)]
    await raw.delete(*keys)


async def test_a_forbidden_command_is_an_error_and_not_zero(
    own_server: RedisServer, make_analytics: MakeAnalytics, make_users: MakeUsers
) -> None:
    """A forbidden command is an error and never a count or an erasure of 0."""
    async with redis.asyncio.Redis.from_url(own_server.url) as admin:
        rules = ["+@all", "-smembers", "-hlen"]
        await admin.acl_setuser("jay", enabled=True, passwords=["+p"], keys=["*"], commands=rules)
    url = own_server.url.replace("redis://", "redis://jay:p@")
    for refused in (make_analytics(url).count_sessions(days(0), NOW), make_users(url).erase("u", NOW_US)):
        with pytest.raises((StoreUnavailable, redis.exceptions.ResponseError)):
            await refused


async def test_an_erasure_removes_all_data_of_a_user_and_nothing_else(
    store: RedisSessionStore,
    analytics: RedisCountStore,
    users: RedisUserStore,
    raw: Raw,
    keyspace: Keyspace,
    digest: UserDigest,
    mint: Mint,
) -> None:
    """An erasure removes a user's sessions, index and top-list entries of all days."""
    neighbour = next(user for n in range(999) if digest(user := f"user-{n}")[0] == digest("u")[0])
    own, others = (
        [mint(NOW - age * DAY, source, user) for age in (90, 45, 1, 0) for source in "ab" for user in people]
        for people in (["u"], [neighbour, None])
    )
    await store.create_many([*own, *others])
    asked = days(90)
    before = await analytics.count_sessions(asked, NOW)
    assert await users.find_sessions("u") == sorted(own, key=by_start)
    assert (await users.count("u", asked)) == UserCounts({"a": 4, "b": 4}, Bounds(8, 8))
    assert await users.erase("u", NOW_US) == 8
    assert await raw.exists(keyspace.user(digest("u"))) == 0
    for key in await all_keys(raw, keyspace.base(int(digest("u")[0], 16)) + "top:"):
        assert await raw.zrange(key, 0, -1) == [neighbour]
    assert await store.find_each([session.id for session in own + others]) == {one.id: one for one in others}
    assert await users.find_sessions(neighbour) == sorted((one for one in others if one.user_id), key=by_start)
    assert await users.count("u", asked) == NOTHING
    after = await analytics.count_sessions(asked, NOW)
    for name in "ab":
        assert after.by_source[name].created == before.by_source[name].created
        assert after.by_source[name].ended == [0] * 90 + [4]
        assert after.by_source[name].active == before.by_source[name].active - 2
    assert await users.erase("u", NOW_US) == 0


async def test_an_erasure_reaches_lists_that_a_longer_retention_left(
    server: RedisServer, store: RedisSessionStore, make_users: MakeUsers, raw: Raw, keyspace: Keyspace, mint: Mint
) -> None:
    """An erasure also covers top lists from a time with a longer retention."""
    session = mint(NOW - 45 * DAY, user_id="u")
    await store.create_many([session])
    await make_users(server.url, retention_days=7).erase("u", NOW_US)
    assert await raw.exists(keyspace.session(session.id)[:-36] + f"top:{TODAY - 45}") == 0


async def test_an_erasure_whose_reply_was_lost_answers_the_same(
    server: RedisServer, store: RedisSessionStore, make_users: MakeUsers, mint: Mint
) -> None:
    """A retried erasure returns its first result, and the next one finds nothing."""
    async with LossyStore(server) as proxy:
        users = make_users(proxy.url)
        assert await users.erase("u", NOW_US - 10) == 0  # loads the script
        await store.create_many([mint(NOW, user_id="u") for _ in range(3)])
        proxy.lose_next()
        assert await users.erase("u", NOW_US) == 3
        assert proxy.lost == 1
        assert await users.erase("u", NOW_US) == 0


async def test_erasing_works_when_redis_is_full(
    own_server: RedisServer, make_store: MakeStore, make_users: MakeUsers, keyspace: Keyspace, mint: Mint
) -> None:
    """An erasure works when the memory of Redis is full, and the counts are updated."""
    store, users = await make_store(own_server.url), make_users(own_server.url)
    await store.create_many([mint(NOW, "s", user) for user in ("u", "u", "v", None)])
    async with redis.asyncio.Redis.from_url(own_server.url, decode_responses=True) as raw:
        await raw.config_set("maxmemory", "1")
        assert await users.erase("u", NOW_US) == 2
        assert await users.erase("nobody", NOW_US) == 0
        assert await users.find_sessions("u") == []
        counts = await read_counts(raw, keyspace)
    assert (counts.created, counts.ended, counts.live_by_hour) == ({"s": 4}, {"s": 2}, {"s": 2})


async def test_finding_sessions_removes_expired_index_entries(
    store: RedisSessionStore, users: RedisUserStore, raw: Raw, keyspace: Keyspace, digest: UserDigest, mint: Mint
) -> None:
    """Finding the sessions of a user removes expired entries from the index."""
    sessions = [mint(NOW - n, user_id="u") for n in range(100)]
    await store.create_many(sessions)
    # The deletion simulates their expiry.
    await raw.delete(*(keyspace.session(session.id) for session in sessions[10:]))
    assert await users.find_sessions("u") == sessions[9::-1]
    assert set(await raw.hkeys(keyspace.user(digest("u")))) == {session.id for session in sessions[:10]}
