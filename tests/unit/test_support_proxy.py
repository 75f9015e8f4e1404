"""The proxies for tests close every connection at the end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.proxy import Impostor, LossyProxy, MovingName, Proxy, SlowLink


async def read_all(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Read until the end of a connection, as a server does."""
    await reader.read()


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize(
    "make",
    [FaultProxy, MovingName, lambda port: LossyProxy(port, lambda: False), lambda port: SlowLink(port, 0)],
    ids=["fault", "moving", "lossy", "slow"],
)
async def test_the_end_closes_a_new_connection(make: Callable[[int], Proxy], steps: int) -> None:
    """A proxy closes a connection that is some steps of the event loop old."""
    async with Impostor(read_all) as server:
        async with make(server.port) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            for _ in range(steps):
                await asyncio.sleep(0)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), timeout=5) == b""
        writer.close()
