"""The watch of Redis in the background."""

import asyncio

import pytest

from service.config.settings import RedisSettings
from service.storage import store_watch
from service.storage.connection import RedisConnection
from service.storage.redis_status import RedisStatusReader, status_of
from service.storage.risk_log import RiskLog
from service.storage.store_watch import StoreWatch
from service.store_status import StoreStatus


class _Reader(RedisStatusReader):
    """Reads that end when the test says so. No command is sent."""

    def __init__(self) -> None:
        super().__init__(RedisConnection.alone("redis://127.0.0.1/0", RedisSettings()))
        self.begun = asyncio.Semaphore(0)
        self.may_end = asyncio.Semaphore(0)

    async def read(self) -> StoreStatus:
        self.begun.release()
        await self.may_end.acquire()
        return status_of({})


async def test_a_reconnect_during_a_read_is_followed_by_another_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of a server that was replaced meanwhile is read again at once."""
    monkeypatch.setattr(store_watch, "MIN_PAUSE_SECONDS", 0.0)
    reader = _Reader()
    watch = StoreWatch(reader, RiskLog(), lambda: None)
    watch.start()
    try:
        async with asyncio.timeout(10):
            await reader.begun.acquire()
            watch.poll_soon()
            reader.may_end.release()
            await reader.begun.acquire()
    finally:
        await watch.close()
