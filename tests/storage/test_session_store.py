"""The session store: sessions, counts, indexes and top lists in Redis."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis.asyncio

from service.deferred import Deferred
from service.digests import UserDigest
from service.sessions import Session, SessionFactory
from service.storage.keyspace import Keyspace
from service.storage.session_batches import BatchingSessionStore
from service.storage.session_store import RedisSessionStore
from tests.storage.conftest import PATIENT_COALESCE, ChangesOf, MakeStore
from tests.storage.counts import all_keys, counters, read_counts, top_users
from tests.support.servers import Raw, RedisServer

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_a_session_is_found_until_it_is_ended(store: RedisSessionStore, factory: SessionFactory) -> None:
    """A created session is found unchanged until it is ended."""
    guest, user = factory.new("tv.app"), factory.new("tv.app", 'ü"\\🙂')
    assert await store.create_many([guest, user]) == [True, True]
    assert await store.find_many([[guest.id], [user.id], [UNKNOWN], []]) == [guest, user, None, None]
    assert await store.end_many([[guest.id], [UNKNOWN], []]) == [["tv.app"], [], []]
    assert await store.find_many([[guest.id], [user.id]]) == [None, user]


async def test_the_first_live_candidate_wins(store: RedisSessionStore, factory: SessionFactory) -> None:
    """An ended session in the cookie does not hide a live one in the header."""
    first, second = factory.new("s"), factory.new("s")
    await store.create_many([first, second])
    assert await store.find_many([[UNKNOWN, second.id, first.id], [first.id, second.id]]) == [second, first]


async def test_every_candidate_is_ended_and_counted_once(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """Two requests with the same sessions end each session once."""
    one, two = factory.new("a"), factory.new("b")
    await store.create_many([one, two])
    assert await store.end_many([[one.id, UNKNOWN, two.id], [two.id, one.id]]) == [["a", "b"], []]
    assert await store.end_many([[one.id, two.id]]) == [[]]
    counts = await read_counts(raw, keyspace)
    assert counts.ended == {"a": 1, "b": 1}
    assert counts.live_by_minute == counts.live_by_hour == {"a": 0, "b": 0}


async def test_a_session_in_several_requests_of_a_batch(store: RedisSessionStore, factory: SessionFactory) -> None:
    """The first request for a session ends it, and each request gets its own result."""
    one, two = factory.new("a"), factory.new("b")
    two = two._replace(id=one.id[0] + two.id[1:])
    await store.create_many([one, two])
    assert await store.end_many([[one.id], [one.id], [two.id]]) == [["a"], [], ["b"]]


async def test_counts_follow_the_sessions(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """Created, ended and live counts match the sessions of each source."""
    sessions = [factory.new(f"source-{n % 3}", f"user-{n}" if n % 2 else None) for n in range(90)]
    await store.create_many(sessions)
    await store.end_many([[session.id] for session in sessions[:45]])
    counts = await read_counts(raw, keyspace)
    by_source = Counter(session.source for session in sessions)
    ended = Counter(session.source for session in sessions[:45])
    assert counts.created == by_source
    assert counts.ended == ended
    assert counts.live_by_hour == counts.live_by_minute == by_source - ended


async def test_each_count_is_in_its_hour_and_minute(
    make_store: MakeStore, server: RedisServer, raw: Raw, keyspace: Keyspace, digest: UserDigest
) -> None:
    """Counts are stored under the hour of the start or the end, and live by minute."""
    start = 20000 * 86400 + 5 * 3600 + 7 * 60 + 3
    store = await make_store(server.url, clock=lambda: start + 25 * 3600)
    session = Session(
        f"{digest('u')[0]}0000000-0000-4000-8000-000000000000", start * 1_000_000, "s", "u", digest("u")
    )
    base = keyspace.session(session.id)[:-36]
    await store.create_many([session])
    assert await counters(raw, base + "minutes:480005:s") == [0] * 7 + [1]
    assert await counters(raw, base + "day:20000:s") == day_counters(created=1, ended=0, c5=1, l5=1)
    assert await raw.smembers(base + "sources:20000") == {"s"}
    assert await raw.pfcount(base + "unique:20000:s") == 1
    assert await raw.zrange(base + "top:20000", 0, -1) == ["u"]
    await store.end_many([[session.id]])
    assert sum(await counters(raw, base + "minutes:480005:s")) == 0
    assert await counters(raw, base + "day:20000:s") == day_counters(created=1, ended=0, c5=1, l5=0)
    assert await counters(raw, base + "day:20001:s") == day_counters(created=0, ended=1, e6=1, of_earlier_days=1)
    assert await raw.smembers(base + "sources:20001") == {"s"}
    assert await all_keys(raw, base + "minutes:") == [base + "minutes:480005:s"]


def day_counters(*, created: int, ended: int, of_earlier_days: int = 0, **by_hour: int) -> list[int]:
    """Return a day's counters up to the last one that is not 0.

    Keywords are a kind and an hour: `c5` is created in hour 5, `e` ended, `l` live.
    """
    numbers = {0: created, 1: ended}
    numbers |= {2 + "cel".index(name[0]) * 24 + int(name[1:]): count for name, count in by_hour.items()}
    if of_earlier_days:
        numbers[123] = of_earlier_days
    return [numbers.get(n, 0) for n in range(max(numbers) + 1)]


async def test_creating_again_is_a_retry(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """A repeated creation counts once, and the id of another session is refused."""
    session = factory.new("s", "u")
    for _ in range(3):
        assert await store.create_many([session]) == [True]
    assert await store.create_many([session._replace(started_at=session.started_at + 1)]) == [False]
    assert await store.find_many([[session.id]]) == [session]
    assert (await read_counts(raw, keyspace)).created == {"s": 1}
    assert await top_users(raw, keyspace) == {"u": (1, 0)}


KINDS = {
    r"[0-9a-f-]{36}": "string",
    r"minutes:\d+:tv\.app": "string",
    r"day:\d+:tv\.app": "string",
    r"sources:\d+": "set",
    r"unique:\d+:tv\.app": "string",
    r"top:\d+": "zset",
    r"user:[0-9a-f][A-Za-z0-9+/]{15}": "hash",
}


async def test_every_key_is_in_the_table_and_expires(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, prefix: str
) -> None:
    """Every key has a lifetime and is in the key table of keyspace.py."""
    sessions = [factory.new("tv.app", f"user-{n}" if n % 2 else None) for n in range(64)]
    await store.create_many(sessions)
    await store.end_many([[session.id] for session in sessions[::3]])
    keys = await all_keys(raw, prefix)
    assert len(keys) > 100
    seen = set()
    for key in keys:
        rest = re.sub(r"^.*?\{..\}", "", key)
        pattern, kind = next((p, k) for p, k in KINDS.items() if re.fullmatch(p, rest))
        seen.add(pattern)
        assert await raw.type(key) == kind, key
        lifetime = 91 * 86400 if rest.startswith(("day", "sources", "unique", "top")) else 86400
        lifetime += 7200 if rest.startswith("minutes") else 0
        assert lifetime - 60 < await raw.ttl(key) <= lifetime, key
    assert seen == set(KINDS)


async def test_no_key_name_contains_a_user_id(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, prefix: str
) -> None:
    """User ids are in values and never in the names of keys."""
    await store.create_many([factory.new("s", "canary-user")])
    assert not [key for key in await all_keys(raw, prefix) if "canary" in key]


async def test_a_user_index_holds_the_live_sessions(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace, digest: UserDigest
) -> None:
    """A user's index holds the live sessions and no ended ones."""
    sessions = [factory.new("s", "u") for _ in range(5)]
    await store.create_many(sessions)
    await store.end_many([[sessions[0].id]])
    index = keyspace.user(digest("u"))
    assert set(await raw.hkeys(index)) == {session.id for session in sessions[1:]}


async def test_creations_remove_expired_index_entries(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace, digest: UserDigest
) -> None:
    """Creations remove expired entries, so most entries of an index are live."""
    index = keyspace.user(digest("u"))
    for round_number in range(8):
        sessions = [factory.new("s", "u") for _ in range(100)]
        await store.create_many(sessions)
        # The deletion simulates their expiry.
        await raw.delete(*(keyspace.session(session.id) for session in sessions))
        if round_number:
            assert await raw.hlen(index) < 220


async def test_an_index_lasts_as_long_as_its_last_session(
    make_store: MakeStore,
    server: RedisServer,
    factory: SessionFactory,
    raw: Raw,
    keyspace: Keyspace,
    digest: UserDigest,
) -> None:
    """An index lives as long as its last session, also after the TTL was changed."""
    index = keyspace.user(digest("u"))
    await (await make_store(server.url)).create_many([factory.new("s", "u")])
    await (await make_store(server.url, ttl_seconds=60)).create_many([factory.new("s", "u")])
    assert 86000 < await raw.ttl(index) <= 86400
    await raw.expire(index, 60)
    await (await make_store(server.url)).create_many([factory.new("s", "u")])
    assert 86000 < await raw.ttl(index) <= 86400


async def test_unique_users_are_sketched_by_day_and_source(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """The sketches of the shards add up to the users of a source, without guests."""
    await store.create_many([factory.new("s", f"user-{n % 50}") for n in range(200)])
    await store.create_many([factory.new("s") for _ in range(50)] + [factory.new("other", "user-1")])
    found: Counter[str] = Counter()
    for shard in range(16):
        for key in await all_keys(raw, keyspace.base(shard) + "unique:"):
            found[key.rpartition(":")[2]] += await raw.pfcount(key)
    assert abs(found["s"] - 50) <= 1
    assert found["other"] == 1


async def test_counts_are_never_negative(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace, prefix: str
) -> None:
    """Ending a session whose count is gone makes no count negative."""
    session = factory.new("s")
    await store.create_many([session])
    base = keyspace.session(session.id)[:-36]
    await raw.delete(*await all_keys(raw, base + "minutes:"), *await all_keys(raw, base + "day:"))
    assert await store.end_many([[session.id]]) == [["s"]]
    counts = await read_counts(raw, keyspace)
    assert counts.live_by_minute.total() == counts.live_by_hour.total() == 0
    assert counts.ended == {"s": 1}
    assert all([await raw.ttl(key) > 0 for key in await all_keys(raw, prefix)])


async def test_the_top_list_is_bounded_and_its_error_is_known(
    make_store: MakeStore, server: RedisServer, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """Each count in the top list is too high by at most its stored error."""
    store = await make_store(server.url, top_users=10)
    true: Counter[str] = Counter()
    for round_number in range(12):
        users = [f"rare-{round_number}-{n}" for n in range(40)] + ["frequent"] * 30
        true.update(users)
        await store.create_many([factory.new("s", user) for user in users])
    found = await top_users(raw, keyspace)
    assert len(found) <= 16 * 10
    assert found["frequent"][0] - found["frequent"][1] <= true["frequent"] <= found["frequent"][0]
    for user, (count, error) in found.items():
        assert count - error <= true[user] <= count, user


FOREIGN = (
    "x",
    "{}",
    "[]",
    "[1]",
    '["a","b"]',
    '[1,"s",{}]',
    '[1,"s","u"]',
    '[1,"s","u",7]',
    '[1,"s","u","d","x"]',
    '[1,"s",0]',
    '[1,"s",01]',
    '[1,"s",-1]',
    '[1,"s",1.5]',
    '[1,"s",1e3]',
    '[1,"s",true]',
    '[1,"s",34560001]',
    '[1,"s","u","d",0]',
    '[1,"s","u",600]',
    '[1,"s",600,0]',
    '[1,"s",600,101]',
    '[1,"s","u","d",600,"1"]',
    '[1,"s",600,1,1]',
    '[1,"s",600,1,1,600]',
    '[1,"s","u","d",600,1,1]',
    "?",
    "!!",
    "[[],[]]",
    '[1.5,"s"]',
    '[1e3,"s"]',
    '[0x10,"s"]',
    '[-1,"s"]',
    '[9223372036854775807,"s"]',
    '[true,"s"]',
    '[01,"s"]',
    '[1,""]',
    '[1,"s t"]',
    '[1,"a\\nb"]',
    b'[1,"\xff"]',
    '[1,"' + "s" * 65 + '"]',
    '{"1":1,"2":"s"}',
)
OURS_SPACED = {' [ 1 , "s" ] ': 86400, ' [ 1 , "s" , 600 ] ': 600}


@pytest.mark.parametrize("value", OURS_SPACED)
async def test_white_space_does_not_make_a_value_foreign(
    store: RedisSessionStore, raw: Raw, keyspace: Keyspace, value: str
) -> None:
    """A value with extra white space is read and ended like any other."""
    one = "abcdef00-0000-4000-8000-000000000000"
    await raw.set(keyspace.session(one), value, ex=60)
    assert await store.find_many([[one]]) == [Session(one, 1, "s", ttl_seconds=OURS_SPACED[value])]
    assert await store.end_many([[one]]) == [["s"]]


@pytest.mark.parametrize("ttl_seconds", [1, 600, 86399, 86400, 86401, 400 * 86400])
async def test_a_session_keeps_the_lifetime_of_its_creation(
    store: RedisSessionStore, digest: UserDigest, raw: Raw, keyspace: Keyspace, ttl_seconds: int
) -> None:
    """Guests and users of any lifetime are found, counted and ended with it."""
    factory = SessionFactory(digest, ttl_seconds)
    sessions = [factory.new("s"), factory.new("s", "u"), factory.new("s", "5, 600")]
    assert await store.create_many(sessions) == [True] * 3
    assert await store.create_many(sessions) == [True] * 3
    assert await store.find_many([[one.id] for one in sessions]) == sessions
    guest = await raw.get(keyspace.session(sessions[0].id))
    assert (guest == f'[{sessions[0].started_at},"s"]') == (ttl_seconds == 86400)
    assert await store.end_many([[one.id] for one in sessions]) == [["s"]] * 3
    assert await raw.exists(keyspace.user(digest("u"))) == 0


async def test_a_new_entry_in_a_full_top_list_takes_the_smallest_count(
    make_store: MakeStore,
    server: RedisServer,
    raw: Raw,
    keyspace: Keyspace,
    digest: UserDigest,
    factory: SessionFactory,
) -> None:
    """A new entry in a full top list takes over the smallest count as its error."""
    users = [user for n in range(2000) if digest(user := f"user-{n}")[0] == "0"][:14]
    store = await make_store(server.url, top_users=10)
    true: Counter[str] = Counter()
    for turn in range(40):
        user = users[turn * turn % len(users)] if turn % 3 else users[turn % len(users)]
        true[user] += 1
        await store.create_many([factory.new("s", user)])
    found = await top_users(raw, keyspace)
    assert len(found) == 10
    assert any(error for _, error in found.values())
    for user, (count, error) in found.items():
        assert count - error <= true[user] <= count, user
    assert sum(count for count, _ in found.values()) == 40


async def test_foreign_data_counts_as_absent_and_is_left_alone(
    store: RedisSessionStore, raw: Raw, keyspace: Keyspace
) -> None:
    """Another program's values under session keys count as absent and are kept."""
    ids = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(len(FOREIGN) + 1)]
    for one, value in zip(ids, FOREIGN, strict=False):
        await raw.set(keyspace.session(one), value)
    await raw.rpush(keyspace.session(ids[-1]), "a list")
    assert await store.find_many([ids, *([one] for one in ids)]) == [None] * (len(ids) + 1)
    assert await store.end_many([ids]) == [[]]
    assert await raw.exists(*map(keyspace.session, ids)) == len(ids)
    await raw.delete(*map(keyspace.session, ids))


async def test_foreign_data_under_the_counts_does_not_stop_sessions(
    make_store: MakeStore,
    server: RedisServer,
    factory: SessionFactory,
    raw: Raw,
    keyspace: Keyspace,
    digest: UserDigest,
) -> None:
    """Sessions work when foreign data is stored under the keys of their counts."""
    store = await make_store(server.url)
    session = factory.new("s", "u")
    hour, day = session.started_at // 3_600_000_000, session.started_at // 86_400_000_000
    base = keyspace.session(session.id)[:-36]
    counts = [f"minutes:{hour}:s", f"day:{day}:s", f"sources:{day}", f"top:{day}", f"unique:{day}:s"]
    counts += [f"user:{digest('u')}", f"erased:{digest('u')}"]
    for key in counts:
        await raw.rpush(base + key, "a list")
    assert await store.create_many([session]) == [True]
    assert await store.find_many([[session.id]]) == [session]
    assert await store.end_many([[session.id]]) == [["s"]]
    for key in counts:
        assert await raw.lrange(base + key, 0, -1) == ["a list"]
        assert await raw.ttl(base + key) == -1
        await raw.delete(base + key)


async def test_scripts_are_loaded_again_after_a_flush(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw
) -> None:
    """Scripts are loaded again after SCRIPT FLUSH."""
    await store.create_many([factory.new("s")])
    await raw.script_flush()
    session = factory.new("s")
    assert await store.create_many([session]) == [True]
    await raw.script_flush()
    assert await store.end_many([[session.id]]) == [["s"]]


async def test_a_session_expires_by_itself(
    make_store: MakeStore, server: RedisServer, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """A session expires after its TTL, and reading does not extend it."""
    store = await make_store(server.url, ttl_seconds=100)
    session = factory.new("s")
    await store.create_many([session])
    key = keyspace.session(session.id)
    await raw.expire(key, 50)
    await store.find_many([[session.id]])
    assert 0 < await raw.ttl(key) <= 50
    await raw.pexpire(key, 1)
    async with asyncio.timeout(5):
        while await store.find_many([[session.id]]) != [None]:
            await asyncio.sleep(0.001)


async def test_an_ended_session_stays_ended(
    store: RedisSessionStore, factory: SessionFactory, changes_of: ChangesOf
) -> None:
    """Concurrent reads and creations never bring an ended session back."""
    sessions = BatchingSessionStore(store, PATIENT_COALESCE, changes_of(store))
    for _ in range(20):
        session = factory.new("s", "u")
        await sessions.create(session)
        ended = asyncio.Event()

        async def read(one: Session = session, ended: asyncio.Event = ended) -> None:
            for _ in range(20):
                is_over = ended.is_set()
                found = await sessions.find([one.id])
                assert not (is_over and found)

        async def end(one: Session = session, ended: asyncio.Event = ended) -> Sequence[str]:
            sources = await sessions.end([one.id])
            ended.set()
            return sources

        others = [sessions.create(factory.new("s", "u")) for _ in range(5)]
        results: list[Any] = await asyncio.gather(end(), end(), read(), read(), *others)
        assert [*(results[0] or ()), *(results[1] or ())] == ["s"]
    await sessions.close()


async def test_cancelled_requests_do_not_mix_up_answers(
    store: RedisSessionStore, factory: SessionFactory, changes_of: ChangesOf
) -> None:
    """Requests get their own session while others of the batch are cancelled."""
    sessions = BatchingSessionStore(store, PATIENT_COALESCE, changes_of(store))
    known = [factory.new(f"source-{n}") for n in range(200)]
    await store.create_many(known)
    checked = 0
    for round_number in range(60):
        tasks = [(one, asyncio.ensure_future(sessions.find([one.id]))) for one in known]
        for turn in range(round_number % 5):
            await asyncio.sleep(0)
            for _, task in tasks[turn::10]:
                task.cancel()
        for one, task in tasks:
            try:
                assert await task == one
                checked += 1
            except asyncio.CancelledError:
                assert task.cancelled()
    assert checked > 60 * 100
    await sessions.close()


async def test_a_burst_causes_few_calls(
    changes_of: ChangesOf, make_store: MakeStore, own_server: RedisServer, factory: SessionFactory
) -> None:
    """64 concurrent requests of one kind cause at most 16 calls to Redis."""
    store = await make_store(own_server.url)
    sessions = BatchingSessionStore(store, PATIENT_COALESCE, changes_of(store))
    burst = [factory.new("s", f"user-{n}" if n % 2 else None) for n in range(64)]
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        # These calls load the scripts.
        await asyncio.gather(sessions.create(factory.new("s")), sessions.end([UNKNOWN]))

        async def calls(name: str) -> int:
            return int((await raw.info("commandstats")).get(f"cmdstat_{name}", {}).get("calls", 0))

        operations: list[tuple[str, Callable[[Session], Deferred[Any]]]] = [
            ("evalsha", sessions.create),
            ("mget", lambda one: sessions.find([one.id])),
            ("evalsha", lambda one: sessions.end([one.id])),
        ]
        for name, submit in operations:
            before = await calls(name)
            await asyncio.gather(*map(submit, burst))
            assert 1 <= await calls(name) - before <= 16, name
    await sessions.close()
