"""Lookups: requests per validation, the cache and its bounds."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from jay_tracking_client import aio
from jay_tracking_client.cache import SessionCache
from jay_tracking_client.coalescer import Coalescer
from jay_tracking_client.errors import Unready
from jay_tracking_client.messages import Request
from jay_tracking_client.options import Options
from jay_tracking_client.sessions import Session
from jay_tracking_client.testing.fake_service import FakeTrackingService

from tests.clients.conftest import Connect, Target


@pytest.fixture
def client(connect: Connect, target: Target) -> Any:
    return connect(target.url, target.api_key)


async def test_ten_thousand_validations_take_at_most_25_requests(target: Target, connect: Connect) -> None:
    """Concurrent `find` calls and one `lookup` of 10,000 ids take 10 requests each."""
    requests = target.lookup_requests()
    client = connect(target.url, target.api_key, total_seconds=60.0)
    live = await client.create()
    ids = [str(uuid.uuid4()) for _ in range(9_999)]
    if isinstance(client, aio.TrackingClient):
        found = await asyncio.gather(*(client.find(one) for one in (*ids, live.id)))
        assert [session and session.id for session in found] == [None] * 9_999 + [live.id]
    else:
        assert (await client.lookup((*ids, live.id))).keys() == {live.id}
    assert 10 <= target.lookup_requests() - requests <= 25


async def test_the_same_id_is_asked_once(fake: FakeTrackingService) -> None:
    """Concurrent callers of one id share its place in the lookup and its result."""
    session = fake.create_session()
    async with aio.TrackingClient(fake.url, fake.api_key) as client:
        found = await asyncio.gather(*(client.find(session.id) for _ in range(50)))
    assert found == [found[0]] * 50
    assert found[0] == session
    assert [request.body for request in fake.requests] == [f'{{"session_ids":["{session.id}"]}}'.encode()]


async def test_a_failed_lookup_fails_each_caller(fake: FakeTrackingService) -> None:
    """Every caller of a batch gets its error, and the next batch is served."""
    sessions = [fake.create_session() for _ in range(3)]
    fake.fail_next()
    async with aio.TrackingClient(fake.url, fake.api_key, Options(attempts=1)) as client:
        results = await asyncio.gather(*(client.find(one.id) for one in sessions), return_exceptions=True)
        assert [type(one) for one in results] == [Unready] * 3
        assert await client.find(sessions[0].id) == sessions[0]


async def test_a_cancelled_caller_disturbs_no_other(fake: FakeTrackingService) -> None:
    """The other callers of the same id get their session."""
    session = fake.create_session()
    async with aio.TrackingClient(fake.url, fake.api_key) as client:
        cancelled, kept = (asyncio.create_task(client.find(session.id)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await kept == session
        assert cancelled.cancelled()


async def test_close_serves_the_callers_that_wait(fake: FakeTrackingService) -> None:
    """A client that closes sends the batch that it was collecting."""
    session = fake.create_session()
    client = aio.TrackingClient(fake.url, fake.api_key, Options(coalesce_seconds=60.0))
    waiting = asyncio.create_task(client.find(session.id))
    await asyncio.sleep(0)
    await client.close()
    assert await waiting == session


async def test_a_cancelled_close_leaves_no_caller_waiting() -> None:
    """The callers of a lookup in progress get its result after a cancelled `close`."""
    answered = asyncio.Event()

    async def look_up(_: Sequence[str]) -> list[Session]:
        await answered.wait()
        return []

    coalescer = Coalescer(look_up, seconds=0.0)
    caller = asyncio.create_task(coalescer.find(str(uuid.uuid4())))
    await asyncio.sleep(0)  # the caller waits now
    closing = asyncio.create_task(coalescer.close())
    await asyncio.sleep(0)  # the lookup is in progress now
    closing.cancel()
    await asyncio.wait([closing])
    answered.set()
    async with asyncio.timeout(10):
        assert await caller is None


async def test_a_cancelled_close_closes_the_connections(fake: FakeTrackingService) -> None:
    """A client whose `close` is cancelled keeps no connection open."""
    client = aio.TrackingClient(fake.url, fake.api_key)
    await client.find(fake.create_session().id)
    closing = asyncio.create_task(client.close())
    with patch.object(Coalescer, "close", asyncio.Event().wait):
        await asyncio.sleep(0)  # it waits for callers now
        closing.cancel()
        await asyncio.wait([closing])
    assert client._http is not None
    assert client._http.closed


async def test_a_remembered_session_needs_no_request(connect: Connect, fake: FakeTrackingService) -> None:
    """A live session is remembered for `cache_seconds`, and a missing one never."""
    now = 0.0
    client = connect(fake.url, fake.api_key, cache_seconds=5.0, clock=lambda: now)
    session, missing = fake.create_session(), str(uuid.uuid4())
    for _ in range(3):
        assert await client.find(session.id) == session
        assert await client.find(missing) is None
    assert len(fake.requests) == 4
    now = 5.0
    assert (await client.lookup([session.id]))[session.id] == session
    assert len(fake.requests) == 5


async def test_a_session_is_remembered_from_the_time_of_the_question(
    connect: Connect, fake: FakeTrackingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a slow lookup counts, because the session may have ended since."""
    now = 0.0

    class Slow(list[Request]):
        def append(self, request: Request) -> None:
            nonlocal now
            now += 3.0
            super().append(request)

    monkeypatch.setattr(fake, "requests", Slow())
    client = connect(fake.url, fake.api_key, cache_seconds=2.0, total_seconds=60.0, clock=lambda: now)
    session = fake.create_session()
    for _ in range(2):
        assert await client.find(session.id) == session
    assert len(fake.requests) == 2


async def test_the_first_live_session_is_found(client: Any) -> None:
    """The order of the ids counts when several of them are live."""
    first, second = await client.create(), await client.create()
    for one, other in ((first, second), (second, first)):
        found = await client.find_first([str(uuid.uuid4()), one.id, other.id])
        assert found
        assert found.id == one.id


async def test_a_change_through_the_client_is_seen_at_once(connect: Connect, fake: FakeTrackingService) -> None:
    """A session that this client ends or replaces leaves its cache."""
    client = connect(fake.url, fake.api_key, cache_seconds=60.0)
    for change in (client.end, client.clear_user):
        session = fake.create_session("u")
        assert await client.find(session.id) == session
        await change(session.id.upper())
        assert await client.find(session.id) is None


def test_a_lookup_that_a_change_overtakes_is_not_remembered() -> None:
    """A lookup that was sent before a session ended does not bring it back."""
    now = 2.0
    cache = SessionCache(Options(cache_seconds=60.0, cache_size=2, clock=lambda: now))
    start = datetime.now(UTC)
    session = Session("a", start, "s", start + timedelta(hours=1))
    for changed in "abb":
        cache.forget(changed)
    cache.remember([session], 1.0, start)
    assert cache.find("a") is None
    cache.remember([session], 3.0, start)
    assert cache.find("a") == session
    for changed in "abc":
        cache.forget(changed)
    assert list(cache._forgotten_at) == ["b", "c"]


@pytest.mark.parametrize("skew_hours", [-30, 0, 30])
def test_the_expiry_bounds_the_cache_whatever_the_clock(skew_hours: int) -> None:
    """A session is remembered until its expiry by the clock of the service."""
    now = 0.0
    cache = SessionCache(Options(cache_seconds=60.0, clock=lambda: now))
    service_time = datetime.now(UTC) + timedelta(hours=skew_hours)
    session = Session("a", service_time, "s", service_time + timedelta(seconds=10))
    cache.remember([session], 0.0, service_time)
    now = 9.9
    assert cache.find("a") == session
    now = 10.0
    assert cache.find("a") is None


def test_the_cache_has_at_most_its_size() -> None:
    """The session that was read longest ago leaves a full cache."""
    cache = SessionCache(Options(cache_seconds=60.0, cache_size=2, clock=lambda: 0.0))
    start = datetime.now(UTC)
    sessions = [Session(name, start, "s", start + timedelta(hours=1)) for name in "abc"]
    cache.remember(sessions[:2], 0.0, start)
    assert cache.find("a")
    cache.remember(sessions[2:], 0.0, start)
    assert [bool(cache.find(name)) for name in "abc"] == [True, False, True]


def test_an_answer_without_a_date_is_not_remembered() -> None:
    """Without the time of the service, the expiry cannot bound the cache."""
    cache = SessionCache(Options(cache_seconds=60.0))
    start = datetime.now(UTC)
    cache.remember([Session("a", start, "s", start + timedelta(hours=1))], 0.0, None)
    assert cache.find("a") is None


async def test_one_id_is_not_a_list(client: Any) -> None:
    """A string in place of a list is an error, because it would find no session."""
    for look_up in (client.lookup, client.find_first):
        with pytest.raises(TypeError, match="pass a list of ids"):
            await look_up(str(uuid.uuid4()))
