"""A service and its servers, which a trial may break."""

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from service.commands.api_client import ApiClient
from tests.support.processes import (
    KEY,
    Process,
    environment_in,
    is_alive,
    start_service,
    until_gone,
    wait_until_ready,
)
from tests.support.proxy import LossyProxy
from tests.support.servers import RedisServer, free_port
from tests.torture.power_loss import PowerSupply

OPERATOR_KEY = "demo-operator-key"


class Service:
    """The service as a process on a fixed port, which can be killed and started again.

    A context manager.
    """

    def __init__(self, folder: Path, redis_url: str, variables: Mapping[str, str]) -> None:
        self._folder = folder
        port = free_port()
        self._environment = {
            **environment_in(folder),
            "JAY_SERVER__PORT": str(port),
            "JAY_REDIS__URL": redis_url,
            **variables,
        }
        self.url = f"http://127.0.0.1:{port}"
        self.client = ApiClient(self.url, KEY)
        self.operator = ApiClient(self.url, OPERATOR_KEY)
        self._starts = itertools.count()
        self._process: Process | None = None

    def start(self) -> Self:
        """Start the service and return when it is ready."""
        self._process = start_service(self._folder / f"service-{next(self._starts)}", self._environment)
        wait_until_ready(self._process)
        return self

    def pids(self) -> list[int]:
        """Return the supervisor's pid, then those of its workers."""
        assert self._process is not None
        return [self._process.popen.pid, *self._process.children()]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor and all workers."""
        for pid in filter(is_alive, self.pids()):
            os.kill(pid, number)

    def kill(self) -> None:
        """Kill the supervisor and all workers at once."""
        if self._process is not None:
            pids = self.pids()
            self.signal(signal.SIGKILL)
            self._process.popen.wait()
            until_gone(pids)
            self._process = None

    def stop(self) -> float:
        """Send SIGTERM and return the seconds until the service has ended."""
        assert self._process is not None
        started = time.monotonic()
        status = self._process.stop()
        assert status == 0, "\n".join(self._process.log)
        self._process = None
        return time.monotonic() - started

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Losses:
    """Decides about each reply of Redis whether it is lost."""

    def __init__(self) -> None:
        self.share = 0.0
        self._chance = random.Random(20261127)

    def __call__(self) -> bool:
        """Return whether the next reply is lost."""
        return self._chance.random() < self.share


@dataclass(frozen=True)
class Disk:
    """How a server synchronizes: `appendfsync`, and the extra time of each fsync.

    With `is_recorded`, a library records what is on the disk.
    """

    fsync: str
    fsync_seconds: float
    is_recorded: bool


@dataclass
class Site:
    """One service and one server with an append-only file."""

    service: Service
    server: RedisServer
    power: PowerSupply | None
    losses: Losses


@asynccontextmanager
async def single_server(
    folder: Path, binary: str, disk: Disk, variables: Mapping[str, str], *, is_lossy: bool
) -> AsyncIterator[Site]:
    """Run a service and a server. With `is_lossy`, replies can be lost between them."""
    data = folder / "server"
    data.mkdir(parents=True)
    options = ("--appendonly", "yes", "--appendfsync", disk.fsync, "--aof-load-truncated", "yes")
    server = RedisServer(binary, data, *options)
    power = PowerSupply(server) if disk.is_recorded else None
    losses = Losses()
    async with AsyncExitStack() as stack:
        if power:
            power.connect(disk.fsync_seconds)
        stack.enter_context(server)
        url = server.url
        if is_lossy:
            url = (await stack.enter_async_context(LossyProxy(server.port, losses))).url
        service = Service(folder, url, variables)
        stack.callback(service.kill)
        await asyncio.to_thread(service.start)
        yield Site(service, server, power, losses)
