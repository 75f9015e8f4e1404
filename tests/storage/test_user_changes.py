"""Sessions whose user changes: successors, old ids, counts, interrupted steps."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable

import pytest
from redis.asyncio import Redis

from service.counts import DAY, Bounds, CountRange, Interval, UserCounts
from service.digests import UserDigest
from service.errors import StoreUnavailable, TooManyRequests
from service.sessions import MAX_USER_CHANGES, Session, SessionFactory, shard_of
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace, count_lifetime_seconds
from service.storage.session_batches import BatchingSessionStore
from service.storage.session_store import RedisSessionStore
from service.storage.user_changes import UserChanges
from service.storage.user_store import RedisUserStore
from tests.storage.conftest import PATIENT_COALESCE, ChangesOf, MakeAnalytics, MakeStore, MakeUsers, Mint, Store
from tests.storage.counts import read_consents, read_counts, top_users
from tests.support.lanes import close_breakers
from tests.support.servers import Raw, RedisServer

GROUPED = {"group_by_shard": "always"}
User = str | None


async def keys_with(raw: Raw, keyspace: Keyspace, *words: str) -> list[str]:
    """Return the keys that have a word in their name or contents."""
    found = []
    async for key in raw.scan_iter(match=keyspace.pattern, count=1000):
        match await raw.type(key):
            case "string":
                content = str(await raw.execute_command("GET", key, NEVER_DECODE=True))
            case "hash":
                content = str(await raw.hgetall(key))
            case "zset":
                content = str(await raw.zrange(key, 0, -1))
            case _:  # fakeredis keeps a sketch as a set of user ids
                content = "" if "unique:" in key else str(await raw.smembers(key))
        if any(word in key or word in content for word in words):
            found.append(key)
    return found


@pytest.mark.parametrize("redis", [{}, GROUPED], ids=["any shard", "by shard"])
async def test_a_session_goes_on_with_another_user(
    make_store: MakeStore,
    changes_of: ChangesOf,
    make_analytics: MakeAnalytics,
    make_users: MakeUsers,
    factory: SessionFactory,
    server: Store,
    raw: Raw,
    keyspace: Keyspace,
    redis: dict[str, str],
) -> None:
    """The successor has a new id, the same start, source and expiry, and is found."""
    store, users = await make_store(server.url, redis=redis), make_users(server.url)
    changes = changes_of(store)
    session = factory.new("s")
    await store.create_many([session])
    steps: list[User] = ["ann", "bob", None, "ann"]
    seen = [session]
    for user_id in steps:
        changed = await changes.set_user([seen[-1].id], user_id)
        assert changed is not None
        assert changed == seen[-1]._replace(
            id=changed.id, user_id=user_id, user_digest=changed.user_digest, user_changes=len(seen)
        )
        assert await store.find_many([[seen[-1].id], [changed.id]]) == [None, changed]
        ttls = [await raw.pttl(keyspace.session(one.id)) for one in (seen[-1], changed)]
        assert abs(ttls[0] - ttls[1]) < 2000
        seen.append(changed)
    assert len({one.id for one in seen}) == 5
    assert await users.find_sessions("ann") == [seen[-1]]
    assert await users.find_sessions("bob") == []
    counts = await read_counts(raw, keyspace)
    assert counts.created == +counts.live_by_hour == +counts.live_by_minute == {"s": 1}
    assert await top_users(raw, keyspace) == {}
    assert await read_consents(make_analytics(server.url)) == (3, 2)


async def test_a_session_that_gets_a_user_is_not_created_by_the_user(
    store: RedisSessionStore, changes_of: ChangesOf, users: RedisUserStore, factory: SessionFactory
) -> None:
    """It is active, and not among the sessions that the user created."""
    now = time.time()
    around = CountRange.around(now - 3600, now + 3600, Interval.HOUR)
    guest, other = factory.new("s"), factory.new("s", "bob")
    await store.create_many([guest, other])
    for session in (guest, other):
        assert await changes_of(store).set_user([session.id], "ann")
    assert await users.count("ann", around) == UserCounts({"s": 2}, Bounds(0, 0))
    await store.create_many([factory.new("s", "ann")])
    assert await users.count("ann", around) == UserCounts({"s": 3}, Bounds(1, 1))


async def test_the_same_user_changes_nothing(
    store: RedisSessionStore, changes_of: ChangesOf, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """A session that has the user already, or none, stays as it is."""
    guest, user = factory.new("s"), factory.new("s", "ann")
    await store.create_many([guest, user])
    keys = [keyspace.session(one.id) for one in (guest, user)]
    before = [await raw.get(key) for key in keys]
    assert await changes_of(store).set_user([guest.id], None) == guest
    assert await changes_of(store).set_user([user.id], "ann") == user
    assert [await raw.get(key) for key in keys] == before


async def test_without_a_live_session_there_is_no_change(
    store: RedisSessionStore, changes_of: ChangesOf, factory: SessionFactory
) -> None:
    """Unknown and ended ids have no successor."""
    ended = factory.new("s", "ann")
    await store.create_many([ended])
    await store.end_many([[ended.id]])
    for user_id in ("ann", None):
        assert await changes_of(store).set_user([ended.id, factory.new("s").id], user_id) is None


@pytest.mark.parametrize("redis", [{}, GROUPED], ids=["any shard", "by shard"])
async def test_an_old_id_acts_on_the_newest_session(
    make_store: MakeStore, changes_of: ChangesOf, factory: SessionFactory, server: Store, redis: dict[str, str]
) -> None:
    """Each replaced id repeats the change, withdraws the consent and ends the visit."""
    store = await make_store(server.url, redis=redis)
    changes, sessions = changes_of(store), BatchingSessionStore(store, PATIENT_COALESCE, changes_of(store))
    for number in range(4):
        visit = [factory.new("s")]
        await store.create_many(visit)
        for user_id in ("ann", "bob", "cay"):
            changed = await changes.set_user([visit[-1].id], user_id)
            assert changed is not None
            visit.append(changed)
        old = visit[number].id
        assert await changes.set_user([old], "cay") == visit[-1]
        withdrawn = await changes.set_user([old], None)
        assert withdrawn is not None
        assert withdrawn.user_id is None
        assert await changes.set_user([old], None) == withdrawn
        assert await sessions.end([old]) == ["s"]
        assert await sessions.end([old]) == []
        assert await store.find_many([[withdrawn.id]]) == [None]


async def test_a_live_id_comes_before_an_old_one(
    store: RedisSessionStore, changes_of: ChangesOf, factory: SessionFactory
) -> None:
    """An old id, as in a cookie, does not hide a live one, as in a header."""
    changes, (first, second) = changes_of(store), [factory.new("s"), factory.new("s")]
    await store.create_many([first, second])
    await changes.set_user([first.id], "ann")
    changed = await changes.set_user([first.id, second.id], "bob")
    assert changed is not None
    assert changed.started_at == second.started_at


@pytest.mark.parametrize("is_other_live", [True, False])
async def test_a_withdrawal_reaches_the_session_of_each_old_id(
    store: RedisSessionStore,
    changes_of: ChangesOf,
    factory: SessionFactory,
    digest: UserDigest,
    raw: Raw,
    keyspace: Keyspace,
    *,
    is_other_live: bool,
) -> None:
    """An old id leaves no session with a user id, also beside a live session."""
    changes, visits = changes_of(store), [factory.new("s") for _ in range(3)]
    await store.create_many(visits)
    old, second_old, other = [session.id for session in visits]
    for one in (old, second_old):
        await changes.set_user([one], "canary-user")
    if not is_other_live:
        await store.end_many([[other]])
    withdrawn = await changes.set_user([old, second_old, other], None)
    assert withdrawn is not None
    assert (withdrawn.id == other) is is_other_live
    assert await keys_with(raw, keyspace, "canary-user", digest("canary-user")) == []


async def test_a_withdrawn_user_id_is_nowhere(
    store: RedisSessionStore,
    changes_of: ChangesOf,
    factory: SessionFactory,
    digest: UserDigest,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """No key, list or index has the user id after the consent was withdrawn."""
    changes = changes_of(store)
    created, guest = factory.new("s", "canary-user"), factory.new("s")
    await store.create_many([created, guest])
    given = await changes.set_user([guest.id], "canary-user")
    assert given is not None
    words = ("canary-user", digest("canary-user"))
    # Two sessions, the index and the top list.
    assert len(await keys_with(raw, keyspace, *words)) == 4
    for session in (created, given):
        assert await changes.set_user([session.id], None)
    assert await keys_with(raw, keyspace, *words) == []


async def test_numbers_of_the_first_day_live_from_the_change(
    make_store: MakeStore,
    changes_of: ChangesOf,
    mint: Mint,
    digest: UserDigest,
    server: Store,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """In the user's shard, numbers of an earlier day live from the change.

    They have no user id. Sketches and lists have users of the present day only.
    """
    day = 20_500
    started, now = (day + 1) * DAY - 60, (day + 2) * DAY - 120
    session = mint(started)
    shard = (shard_of(session.id) + 1) % 16
    user = next(name for name in map(str, range(1000)) if shard_of(digest(name)) == shard)
    store = await make_store(server.url, clock=lambda: started)
    await store.create_many([session])
    assert await changes_of(store, clock=lambda: now).set_user([session.id], user)
    lifetime = count_lifetime_seconds(90)
    for key in (keyspace.day(shard, day, "s"), keyspace.sources(shard, day)):
        assert lifetime - 60 < await raw.ttl(key) <= lifetime
    assert not await raw.exists(keyspace.sketch(shard, day, "s"), keyspace.top(shard, day))
    assert await raw.exists(keyspace.sketch(shard, day + 1, "s")) == 1


async def test_a_withdrawal_keeps_the_bounds_of_the_top_list(
    make_store: MakeStore,
    changes_of: ChangesOf,
    server: Store,
    raw: Raw,
    keyspace: Keyspace,
    digest: UserDigest,
    factory: SessionFactory,
) -> None:
    """The counts of a full top list stay bounds of the sessions that are left."""
    users = [user for n in range(2000) if digest(user := f"user-{n}")[0] == "0"][:14]
    store, chance = await make_store(server.url, top_users=10), random.Random(20261127)
    changes = changes_of(store)
    list_key = keyspace.top(0, int(time.time()) // DAY)
    live: list[Session] = []
    for _ in range(120):
        if live and chance.random() < 0.4:
            session = live.pop(chance.randrange(len(live)))
            await changes.set_user([session.id], None)
        else:
            live.append(factory.new("s", users[min(int(chance.expovariate(0.3)), 13)]))
            await store.create_many(live[-1:])
        found = await top_users(raw, keyspace)
        true = {user: sum(one.user_id == user for one in live) for user in users}
        floor = int(await raw.zscore(list_key, "") or 0) // TOP_SCORE_UNIT
        for user, number in true.items():
            count, error = found.get(user, (floor, floor))
            assert count - error <= number <= count, user
        assert all(count >= floor for count, _ in found.values())
        assert all(true[user] for user, (count, error) in found.items() if count - error > 0)


async def test_parallel_changes_leave_one_session(
    server: Store,
    make_store: MakeStore,
    changes_of: ChangesOf,
    factory: SessionFactory,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """Parallel changes and ends of one visit leave one live session or none."""
    chance = random.Random(20261128)
    for redis in ({}, GROUPED):
        store = await make_store(server.url, redis=redis)
        changes, sessions = changes_of(store), BatchingSessionStore(store, PATIENT_COALESCE, changes_of(store))
        for ends in (False, True):
            session = factory.new("s")
            await store.create_many([session])
            wanted: list[Awaitable[object]] = [
                changes.set_user([session.id], chance.choice([None, "ann", "bob"])) for _ in range(6)
            ]
            if ends:
                wanted.append(sessions.end([session.id]))
            await asyncio.gather(*wanted)
            last = await changes.set_user([session.id], None)
            assert (last is None) is ends
            live = await read_counts(raw, keyspace)
            assert +live.live_by_hour == +live.live_by_minute == ({} if ends else {"s": 1})
            await sessions.end([session.id])


async def interrupt(changes: UserChanges, session: Session, user_id: str, step: str) -> None:
    """Give a session another user, and fail before a step of the change."""
    run = changes._run

    async def interrupted(at: str, *arguments: object) -> int:
        if at == step:
            raise StoreUnavailable("interrupted")
        return await run(at, *arguments)  # type: ignore[arg-type]

    changes._run = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        await changes.set_user([session.id], user_id)


@pytest.mark.parametrize("step", ["create", "finish"])
@pytest.mark.parametrize("then", ["ended", "withdrawn", "repeated", "another"])
async def test_an_interrupted_change_leaves_no_user_id_behind(
    server: Store,
    make_store: MakeStore,
    changes_of: ChangesOf,
    factory: SessionFactory,
    digest: UserDigest,
    raw: Raw,
    keyspace: Keyspace,
    step: str,
    then: str,
) -> None:
    """After each interrupted step, the next request finishes or cancels the change."""
    store = await make_store(server.url, redis=GROUPED)
    session = factory.new("s")
    session = session._replace(id=f"{(int(digest('ann')[0], 16) + 1) % 16:x}{session.id[1:]}")
    await store.create_many([session])
    await interrupt(changes_of(store), session, "ann", step)
    assert await store.find_many([[session.id]]) == [session]
    changes = changes_of(store)
    if then == "ended":
        assert await BatchingSessionStore(store, PATIENT_COALESCE, changes).end([session.id]) == ["s"]
    else:
        wanted = {"withdrawn": None, "repeated": "ann", "another": "bob"}[then]
        changed = await changes.set_user([session.id], wanted)
        assert changed is not None
        assert changed.user_id == wanted
        assert await store.find_many([[changed.id]]) == [changed]
    if then != "repeated":
        assert await keys_with(raw, keyspace, "ann", digest("ann")) == []
    counts = await read_counts(raw, keyspace)
    assert +counts.live_by_hour == +counts.live_by_minute == ({} if then == "ended" else {"s": 1})
    assert counts.created == {"s": 1}
    assert +counts.ended == ({"s": 1} if then == "ended" else {})


CHANGES = MAX_USER_CHANGES - 1
LIVE_SESSIONS = """
local number = 0
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  if key:match('}%x+%-%x+%-%x+%-%x+%-%x+$') and redis.call('GET', key):sub(1, 1) == '[' then
    number = number + 1
  end
end
return number
"""


async def test_a_visit_has_one_live_session_at_each_moment(
    make_store: MakeStore,
    changes_of: ChangesOf,
    factory: SessionFactory,
    server: Store,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """On a single server, an observer never finds two live sessions, and never none."""
    if not isinstance(server, RedisServer):
        pytest.skip("the observer needs one real server, on which a change is one step")
    store = await make_store(server.url)
    changes, session = changes_of(store), factory.new("s")
    await store.create_many([session])
    seen: Counter[int] = Counter()
    is_over = asyncio.Event()

    async def observe() -> None:
        while not is_over.is_set():
            seen[await raw.eval(LIVE_SESSIONS, 0, keyspace.pattern)] += 1

    observer = asyncio.create_task(observe())
    for number in range(CHANGES):
        changed = await changes.set_user([session.id], None if number % 3 == 2 else f"user-{number}")
        assert changed is not None
        session = changed
    is_over.set()
    await observer
    assert seen.keys() == {1}
    assert seen.total() > CHANGES // 2


async def test_a_late_step_does_not_bring_a_session_back(
    server: Store,
    make_store: MakeStore,
    changes_of: ChangesOf,
    factory: SessionFactory,
    digest: UserDigest,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """A request that continues after others have ended the visit stores nothing."""
    store = await make_store(server.url, redis=GROUPED)
    for late in ("create", "finish"):
        session = factory.new("s")
        session = session._replace(id=f"{(int(digest('ann')[0], 16) + 1) % 16:x}{session.id[1:]}")
        await store.create_many([session])
        slow, others = changes_of(store), BatchingSessionStore(store, PATIENT_COALESCE, changes_of(store))
        run = slow._run

        async def late_run(step: str, *arguments: object, run: object = run, late: str = late) -> int:
            if step == late:
                assert await others.end([session.id]) == ["s"]  # noqa: B023 - run within this turn
            return await run(step, *arguments)  # type: ignore[operator, no-any-return]

        slow._run = late_run  # type: ignore[method-assign, assignment]
        await slow.set_user([session.id], "ann")
        assert await keys_with(raw, keyspace, "ann", digest("ann")) == []
        assert +(await read_counts(raw, keyspace)).live_by_hour == {}


async def test_the_number_of_changes_is_bounded(
    store: RedisSessionStore, changes_of: ChangesOf, factory: SessionFactory
) -> None:
    """After too many changes no user id is taken, but consent can be withdrawn."""
    changes, session = changes_of(store), factory.new("s")
    await store.create_many([session])
    for number in range(MAX_USER_CHANGES - 1):
        assert await changes.set_user([session.id], f"user-{number % 2}")
    with pytest.raises(TooManyRequests):
        await changes.set_user([session.id], "ann")
    last = await changes.set_user([session.id], None)
    assert last is not None
    assert await store.find_many([[last.id]]) == [last]
    with pytest.raises(TooManyRequests):
        await changes.set_user([session.id], "ann")
    assert await BatchingSessionStore(store, PATIENT_COALESCE, changes).end([session.id]) == ["s"]


@pytest.mark.parametrize("redis", [{}, GROUPED], ids=["any shard", "by shard"])
async def test_consent_can_be_withdrawn_while_redis_is_full(
    make_store: MakeStore,
    changes_of: ChangesOf,
    make_users: MakeUsers,
    factory: SessionFactory,
    own_server: RedisServer,
    redis: dict[str, str],
) -> None:
    """A full Redis refuses a new user id without a trace, and accepts a withdrawal."""
    store, users = await make_store(own_server.url, redis=redis), make_users(own_server.url)
    changes = changes_of(store)
    guest, user = factory.new("s"), factory.new("s", "ann")
    await store.create_many([guest, user])
    await changes.set_user([user.id], "ann")  # records the secret and loads the scripts
    async with Redis.from_url(own_server.url) as raw:
        await raw.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            await changes.set_user([guest.id], "bob")
        close_breakers(store.connection)
        withdrawn = await changes.set_user([user.id], None)
        assert withdrawn is not None
        assert await store.find_many([[guest.id], [user.id], [withdrawn.id]]) == [guest, None, withdrawn]
        await raw.config_set("maxmemory", "0")
    assert await users.find_sessions("ann") == await users.find_sessions("bob") == []
    assert await changes.set_user([guest.id], "bob")


@pytest.mark.parametrize("step", ["create", "finish"])
@pytest.mark.parametrize("then", ["ended", "withdrawn"])
async def test_an_interrupted_change_is_settled_while_redis_is_full(
    make_store: MakeStore,
    changes_of: ChangesOf,
    factory: SessionFactory,
    digest: UserDigest,
    own_server: RedisServer,
    keyspace: Keyspace,
    step: str,
    then: str,
) -> None:
    """After an interrupted change, a full Redis still takes the end or withdrawal."""
    store = await make_store(own_server.url, redis=GROUPED)
    changes, session = changes_of(store), factory.new("s")
    session = session._replace(id=f"{(int(digest('ann')[0], 16) + 1) % 16:x}{session.id[1:]}")
    await store.create_many([session])
    await interrupt(changes_of(store), session, "ann", step)
    async with Redis.from_url(own_server.url, decode_responses=True) as raw:
        await raw.config_set("maxmemory", "1")
        if then == "ended":
            assert await BatchingSessionStore(store, PATIENT_COALESCE, changes).end([session.id]) == ["s"]
        else:
            guest = await changes.set_user([session.id], None)
            assert guest is not None
            assert await store.find_many([[guest.id]]) == [guest]
        assert await keys_with(raw, keyspace, "ann", digest("ann")) == []
        live = await read_counts(raw, keyspace)
        assert +live.live_by_hour == +live.live_by_minute == ({} if then == "ended" else {"s": 1})


@pytest.mark.parametrize("is_full", [True, False])
async def test_an_erasure_during_a_change_leaves_no_successor(
    make_store: MakeStore,
    changes_of: ChangesOf,
    make_users: MakeUsers,
    factory: SessionFactory,
    digest: UserDigest,
    own_server: RedisServer,
    keyspace: Keyspace,
    *,
    is_full: bool,
) -> None:
    """A stored successor of an erased session is removed, also while Redis is full.

    A repeated step does not store it again.
    """
    store, users = await make_store(own_server.url, redis=GROUPED), make_users(own_server.url)
    changes, session = changes_of(store), factory.new("s", "ann")
    other = next(name for name in map(str, range(1000)) if digest(name)[0] != digest("ann")[0])
    await store.create_many([session])
    run, creation = changes._run, []
    async with Redis.from_url(own_server.url, decode_responses=True) as raw:

        async def erased(step: str, *arguments: object) -> int:
            if step == "create":
                creation.append(arguments)
            if step == "finish":
                assert await users.erase("ann", int(time.time() * 1_000_000) + 1) == 1
                assert await users.find_sessions(other)
                await raw.config_set("maxmemory", str(int(is_full)))
            return await run(step, *arguments)  # type: ignore[arg-type]

        changes._run = erased  # type: ignore[method-assign, assignment]
        assert await changes.set_user([session.id], other) is None
        assert not await raw.exists(keyspace.user(digest(other)))
        await raw.config_set("maxmemory", "0")
        await run("create", *creation[0])  # type: ignore[arg-type]  # as after a lost reply
        assert await users.find_sessions(other) == []
        assert await keys_with(raw, keyspace, "ann", digest("ann")) == []
        counts = await read_counts(raw, keyspace)
        assert +counts.live_by_hour == +counts.live_by_minute == {}
        assert (counts.created, counts.ended) == ({"s": 1}, {"s": 1})
