"""The queues of the servers of a cluster: candidates of several servers."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

import pytest

from service.config.settings import RedisSettings
from service.deferred import Deferred
from service.digests import UserDigest
from service.errors import Overloaded, StoreUnavailable
from service.sessions import SHARD_COUNT, Session, SessionFactory
from service.storage.coalescer import MAX_IN_FLIGHT, Coalescer
from service.storage.connection import RedisConnection
from service.storage.discovery import Discovery
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.server_map import REFRESH_SECONDS, ServerMap
from service.storage.session_batches import BatchingSessionStore
from service.storage.session_queues import SessionQueues, make_queues
from service.storage.session_store import RedisSessionStore
from service.storage.shared import Shared
from service.storage.user_changes import UserChanges
from tests.support.proxy import Impostor

T = TypeVar("T")


class Queue(BatchingSessionStore):
    """The sessions of one server, which needs no Redis."""

    def __init__(self) -> None:
        self.live: dict[str, Session] = {}
        self.error: Exception | None = None
        self.is_full = False
        self.is_busy = False
        self.is_closed = False
        self.asked: list[list[str]] = []

    @property
    def is_idle(self) -> bool:
        return not self.is_busy

    def waiting(self) -> Mapping[tuple[str, ...], int]:
        return {("find",): 2, ("end",): 1}

    def find(self, candidates: Sequence[str]) -> Deferred[Session | None]:
        self.asked.append([*candidates])
        return self._settled(next((self.live[one] for one in candidates if one in self.live), None))

    def create(self, session: Session) -> Deferred[bool]:
        self.live[session.id] = session
        return self._settled(result=True)

    def create_once(self, session: Session, request_hash: str) -> Deferred[Session | None]:  # noqa: ARG002
        self.live[session.id] = session
        return self._settled(session)

    def end(self, candidates: Sequence[str]) -> Deferred[Sequence[str]]:
        self.asked.append([*candidates])
        return self._settled([self.live.pop(one).source for one in candidates if one in self.live])

    async def close(self) -> None:
        self.is_closed = True

    def _settled(self, result: T) -> Deferred[T]:
        if self.is_full:
            raise Overloaded("full")
        deferred: Deferred[T] = Deferred()
        deferred.resolve(self.error or result)
        return deferred


class Two(Discovery):
    """Two servers, each with half of the shards."""

    def __init__(self) -> None:
        super().__init__(RedisSettings())
        self.groups_by_shard = True
        self.urls = ["first", "second"]

    async def find(self) -> Sequence[str]:
        return [self.urls[shard * 2 // SHARD_COUNT] for shard in range(SHARD_COUNT)]


class Site:
    """The queues of two servers, and two sessions on each."""

    def __init__(self) -> None:
        self.discovery, self.now, self.made = Two(), 0.0, list[Queue]()
        self.servers = ServerMap(self.discovery, clock=lambda: self.now)
        self.queues = SessionQueues(self._make_queue, self.servers)
        factory = SessionFactory(UserDigest("secret"))
        sessions = [factory.new("s") for _ in range(4)]
        self.sessions = [one._replace(id=f"{shard}{one.id[1:]}") for one, shard in zip(sessions, "01ef", strict=True)]

    def _make_queue(self) -> Queue:
        self.made.append(Queue())
        return self.made[-1]

    async def open(self) -> None:
        await self.servers.load()
        for session in self.sessions:
            queue = self.queues._queue_of(session.id)
            assert isinstance(queue, Queue)
            queue.live[session.id] = session

    async def move(self, *urls: str) -> None:
        self.discovery.urls[:] = urls
        self.now += REFRESH_SECONDS
        self.servers.refresh_soon()
        assert self.servers._refresh
        await self.servers._refresh


@pytest.fixture
async def site() -> Site:
    """Return queues whose sessions are live."""
    one = Site()
    await one.open()
    return one


async def test_a_session_is_created_in_the_queue_of_its_server(site: Site) -> None:
    """A creation does not wait in the queue of another server, which may hang."""
    for session in site.sessions:
        for queue in site.made:
            queue.live.clear()
        assert await site.queues.create(session)
        assert await site.queues.create_once(session, "hash") == session
        assert [session.id in queue.live for queue in site.made] == [session.id[0] in part for part in ("01", "ef")]


async def test_the_first_live_candidate_is_found(site: Site) -> None:
    """The order of the candidates counts, on whichever server they are."""
    a, b, c, _ = (one.id for one in site.sessions)
    dead = f"{c[:-1]}{'1' if c[-1] == '0' else '0'}"
    for candidates, found in (([c, a], c), ([a, c], a), ([dead, b, c], b), ([dead, c, a], c), ([dead], None)):
        session = await site.queues.find(candidates)
        assert (session and session.id) == found
    assert site.made[1].asked[:2] == [[c], [c]]
    del site.made[0].live[a], site.made[1].live[c]
    assert await site.queues.find([a, c]) is None


@pytest.mark.parametrize("is_full", [True, False])
async def test_a_server_that_fails_matters_when_it_comes_first(site: Site, *, is_full: bool) -> None:
    """An error is raised only if no candidate before it is live."""
    a, _, c, d = (one.id for one in site.sessions)
    site.made[1].is_full, site.made[1].error = is_full, StoreUnavailable("down")
    assert (await site.queues.find([a, c])) == site.sessions[0]
    for candidates in ([c, a], [c, a, d], [d, c, a]):
        with pytest.raises((Overloaded, StoreUnavailable)):
            await site.queues.find(candidates)
    del site.made[0].live[a]
    with pytest.raises((Overloaded, StoreUnavailable)):
        await site.queues.find([a, c])


async def test_candidates_of_all_servers_are_ended(site: Site) -> None:
    """Each server ends its own candidates, also when another one fails."""
    ids = [one.id for one in site.sessions]
    assert await site.queues.end([ids[0], ids[2]]) == ["s", "s"]
    site.made[0].error = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await site.queues.end([ids[1], ids[3]])
    assert site.made[1].live == {}


async def test_an_error_comes_after_the_ends_on_all_servers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of 503 does not overtake the ends that still run."""
    slow: Deferred[Sequence[str]] = Deferred()
    site.made[0].error = StoreUnavailable("down")
    monkeypatch.setattr(site.made[1], "end", lambda _: slow)
    ending = site.queues.end([site.sessions[0].id, site.sessions[2].id])
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ending.is_resolved
    slow.resolve([])
    with pytest.raises(StoreUnavailable):
        await ending


async def test_queues_of_servers_that_are_gone_are_forgotten_once_empty(site: Site) -> None:
    """A queue with requests stays until they have their results. All are closed."""
    session_id = site.sessions[0].id
    site.made[1].is_busy = True
    await site.move("third", "fourth")
    site.queues._queue_of(session_id)
    assert list(site.queues._queues) == ["second", "third"]
    assert site.queues.waiting() == {("find",): 4, ("end",): 2}
    site.made[1].is_busy = False
    await site.move("first", "fourth")
    site.queues._queue_of(session_id)
    assert list(site.queues._queues) == ["first"]
    site.queues._queue_of(site.sessions[3].id)
    await site.queues.close()
    assert [one.is_closed for one in site.made] == [False, False, False, True, True]


async def test_a_server_that_hangs_delays_no_batch_of_another() -> None:
    """A session of another server is read while batches wait for one that hangs."""
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.read(1024)
        asked.set()
        await reader.read(-1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            writer.write(b"*1\r\n$-1\r\n")  # MGET of one key that does not exist

    async with Impostor(hang) as first, Impostor(answer) as second:
        discovery = Two()
        discovery.urls = [first.url, second.url]
        # The setting has 10 s at most. This limit is longer than the test may take.
        connection = RedisConnection(Shared(ServerMap(discovery), RedisSettings(timeout_seconds=60)))
        keyspace, factory = Keyspace("test"), SessionFactory(UserDigest("secret"))
        store = RedisSessionStore(connection, keyspace, Lifetimes.of(60, 90), top_users=100)
        changes = UserChanges(connection, keyspace, factory, lifetimes=Lifetimes.of(60, 1))
        await connection.servers.load()
        queues = make_queues(store, Coalescer, changes)
        hung, served = (f"{shard}{factory.new('s').id[1:]}" for shard in "0f")
        waiting = [queues.find([hung])]
        await asyncio.wait_for(asked.wait(), 30)
        for _ in range(2 * MAX_IN_FLIGHT):
            waiting.append(queues.find([hung]))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(queues.find([served]), 30) is None
        assert not any(one.is_resolved for one in waiting)
    await asyncio.gather(*waiting, return_exceptions=True)
    await connection.close()
    await connection.servers.close()
