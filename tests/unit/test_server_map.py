"""The map of shards to servers: when it is refreshed, and what a failure leaves."""

import asyncio
from collections.abc import Sequence

import pytest

from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.sessions import SHARD_COUNT
from service.storage.discovery import Discovery
from service.storage.server_map import REFRESH_SECONDS, ServerMap

OLD, NEW = "redis://old:6379/0", "redis://new:6379/0"


class Scripted(Discovery):
    """Finds what the test says, once `may_answer` is set."""

    def __init__(self) -> None:
        super().__init__(RedisSettings())
        self.url: str | None = OLD
        self.problem = "nobody answers"
        self.error: Exception | None = None
        self.calls = 0
        self.is_closed = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def server_url(self, host: str, port: int) -> str:
        return f"redis://{host}:{port}/0"

    async def find(self) -> Sequence[str] | None:
        self.calls += 1
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return None if self.url is None else (self.url,) * SHARD_COUNT

    async def close(self) -> None:
        self.is_closed = True


class Site:
    """A map with a clock that the test moves."""

    def __init__(self) -> None:
        self.discovery, self.now, self.refreshes = Scripted(), 0.0, 0
        self.servers = ServerMap(self.discovery, clock=lambda: self.now)
        self.servers.on_refresh(self._refreshed)

    def _refreshed(self) -> None:
        self.refreshes += 1

    async def refresh(self) -> None:
        self.now += REFRESH_SECONDS
        self.servers.refresh_soon()
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def site() -> Site:
    """Return a map that knows nothing yet."""
    return Site()


async def test_the_servers_are_found_once(site: Site) -> None:
    """Many callers wait for one question. Later ones do not ask."""
    site.discovery.may_answer.clear()
    calls = [asyncio.ensure_future(site.servers.load()) for _ in range(3)]
    await turns()
    site.now += 10
    calls.append(asyncio.ensure_future(site.servers.load()))
    await turns()
    site.discovery.may_answer.set()
    await asyncio.gather(*calls)
    await site.servers.load()
    assert (site.discovery.calls, site.servers.urls) == (1, (OLD,) * SHARD_COUNT)


async def test_a_cancelled_caller_stops_no_other(site: Site) -> None:
    """The question goes on when one of its callers is cancelled."""
    site.discovery.may_answer.clear()
    cancelled, other = (asyncio.ensure_future(site.servers.load()) for _ in range(2))
    await turns()
    cancelled.cancel()
    await turns()
    site.discovery.may_answer.set()
    await other
    assert cancelled.cancelled()
    assert site.servers.urls[0] == OLD


async def test_unknown_servers_are_an_outage(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The error has the reason. The log has a line at the start and one at the end."""
    site.discovery.url = None
    for _ in range(3):
        site.now += REFRESH_SECONDS
        with pytest.raises(StoreUnavailable, match="not known: nobody answers"):
            await site.servers.load()
    site.discovery.url = OLD
    for _ in range(2):
        await site.refresh()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "the servers of Redis are not known: nobody answers. Check redis.url",
        "the servers of Redis are known again",
    ]


async def test_a_failed_refresh_keeps_the_servers(site: Site) -> None:
    """While nobody names the servers, those that are known stay in use."""
    await site.refresh()
    site.discovery.url = None
    await site.refresh()
    assert (site.servers.urls, site.refreshes) == ((OLD,) * SHARD_COUNT, 1)
    site.discovery.url = NEW
    await site.refresh()
    assert (site.servers.urls, site.refreshes) == ((NEW,) * SHARD_COUNT, 2)


async def test_a_bug_does_not_stop_refreshes(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the service's own is logged once, and the next refresh works."""
    site.discovery.error = ZeroDivisionError()
    for _ in range(2):
        await site.refresh()
    assert [record.getMessage() for record in caplog.records] == ["the servers of Redis cannot be found"]
    site.discovery.error = None
    await site.refresh()
    assert site.servers.urls[0] == OLD


async def test_refreshes_have_a_pause(site: Site) -> None:
    """The servers are asked for twice a second at most, and not twice at once."""
    await site.refresh()
    site.servers.refresh_soon()
    site.now += REFRESH_SECONDS / 2
    site.servers.refresh_soon()
    await turns()
    assert site.discovery.calls == 1
    site.discovery.may_answer.clear()
    for _ in range(3):
        await site.refresh()
    assert site.discovery.calls == 2
    site.discovery.may_answer.set()


async def test_a_shard_that_moves_leads_to_a_refresh(site: Site) -> None:
    """A redirect changes one shard at once. The map is refreshed, because of others."""
    await site.refresh()
    site.now += REFRESH_SECONDS
    assert site.servers.moved(3, "old", 6379) == OLD
    await turns()
    assert site.discovery.calls == 1
    assert site.servers.moved(3, "new", 6379) == NEW
    assert [shard for shard, url in enumerate(site.servers.urls) if url == NEW] == [3] == site.servers.shards_of(NEW)
    site.discovery.url = NEW
    await turns()
    assert site.servers.urls == (NEW,) * SHARD_COUNT


async def test_closing_ends_the_refresh(site: Site) -> None:
    """No question is left behind, and the connections of the discovery are closed."""
    site.discovery.may_answer.clear()
    site.discovery.needs_polling = True
    site.servers.start_polling()
    await turns()
    await site.servers.close()
    assert site.discovery.is_closed
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
