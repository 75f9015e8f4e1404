"""Clients that send or read slowly, with slowhttptest.

`make attacks` opens more connections.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from service.api import json_body, request_limits
from tests.support.processes import KEY, PATH, Launch, Process, eventually

SLOWHTTPTEST = shutil.which("slowhttptest")
CONNECTIONS = int(os.environ.get("SLOW_CONNECTIONS", "200"))
KEEPALIVE_SECONDS = 5
# A loaded machine needs more time to open connections and to close them.
MARGIN_SECONDS = 6.0
LARGE_FILE = "/static/vendor/swagger-ui/swagger-ui-bundle.js"
# A connection that finds the listen queue full is repeated after 1 s, then after 2 s.
VISITOR_SECONDS = 5.0

pytestmark = pytest.mark.skipif(SLOWHTTPTEST is None, reason="slowhttptest is not installed")


@dataclass
class Target:
    """A service under attack."""

    service: Process
    slowest_visit: float = 0.0
    visits: int = 0
    slow: int = 0
    peak: int = 0
    worker: psutil.Process = field(init=False)

    def __post_init__(self) -> None:
        self.worker = psutil.Process(self.service.worker_pids.pop())

    def connections(self) -> int:
        """Return the number of connections that the service has open."""
        port = urlsplit(self.service.url).port
        found = self.worker.net_connections("tcp")
        return sum(one.status == "ESTABLISHED" and one.laddr.port == port for one in found)

    def kernel_bytes(self) -> int:
        """Return the bytes that the kernel keeps for the clients of the service."""
        port = f":{urlsplit(self.service.url).port:04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return sum(int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(port))

    def visit(self) -> bool:
        """Create and read a session as a visitor, and count the slow connections."""
        started = time.monotonic()
        assert self.service.status_of(self.service.create()) == 200
        self.slowest_visit = max(self.slowest_visit, time.monotonic() - started)
        self.visits += 1
        self.slow = self.connections()
        self.peak = max(self.peak, self.slow)
        return True


@contextmanager
def attack(target: Target, folder: Path, *arguments: str, path: str = PATH) -> Iterator[None]:
    """Run slowhttptest against a path of the service."""
    command = [
        str(SLOWHTTPTEST),
        *arguments,
        "-c",
        str(CONNECTIONS),
        "-r",
        str(CONNECTIONS),
        "-u",
        target.service.url + path,
    ]
    with (folder / "slowhttptest").open("wb") as output:
        process = subprocess.Popen([*command, "-p", "10"], stdout=output, stderr=output, cwd=folder)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def visits_until_all_are_closed(target: Target, deadline_seconds: float) -> float:
    """Visit until the service has closed all slow connections, and return the time.

    The time is counted from the moment at which most connections are open.
    """
    eventually(lambda: target.visit() and target.slow > CONNECTIONS * 0.9, "slow connections", 10)
    started = time.monotonic()
    eventually(
        lambda: target.visit() and target.slow < CONNECTIONS * 0.02,
        "the slow connections are closed",
        deadline_seconds + MARGIN_SECONDS,
        0.05,
    )
    assert target.slowest_visit < VISITOR_SECONDS
    return time.monotonic() - started


def test_slow_heads_are_closed(launch: Launch, tmp_path: Path) -> None:
    """A head of a line per second is closed after 15 s, and visitors are served."""
    target = Target(launch())
    with attack(target, tmp_path, "-H", "-i", "1", "-l", "60"):
        seconds = visits_until_all_are_closed(target, request_limits.HEAD_SECONDS)
    assert seconds > request_limits.HEAD_SECONDS - MARGIN_SECONDS
    assert target.visits > 20


def test_slow_bodies_are_closed(launch: Launch, tmp_path: Path) -> None:
    """A body that arrives some bytes per second is closed after 5 s."""
    target = Target(launch())
    arguments = ("-B", "-i", "1", "-l", "60", "-s", "4096", "-f", f"application/json\r\nX-API-Key: {KEY}")
    with attack(target, tmp_path, *arguments):
        visits_until_all_are_closed(target, json_body.DEADLINE_SECONDS)
    assert target.visits > 5
    statuses = [line for line in target.service.log if '"status":408' in line]
    assert len(statuses) > CONNECTIONS * 0.9


def test_readers_that_stall_are_closed(launch: Launch, tmp_path: Path) -> None:
    """A client that stops reading is closed after `server.keepalive_seconds`."""
    target = Target(launch(JAY_SERVER__KEEPALIVE_SECONDS=str(KEEPALIVE_SECONDS)))
    before = target.worker.memory_info().rss
    with attack(
        target, tmp_path, "-X", "-n", "600", "-w", "512", "-y", "1024", "-z", "32", "-l", "60", path=LARGE_FILE
    ):
        visits_until_all_are_closed(target, request_limits.HEAD_SECONDS)
    assert target.worker.memory_info().rss - before < CONNECTIONS * 250_000


def test_slow_readers_cost_little_memory(launch: Launch, tmp_path: Path) -> None:
    """Clients that read 32 bytes per second take little memory."""
    target = Target(launch())
    before = target.worker.memory_info().rss
    with attack(
        target, tmp_path, "-X", "-n", "1", "-w", "512", "-y", "1024", "-z", "32", "-l", "60", path=LARGE_FILE
    ):
        eventually(lambda: target.visit() and target.slow > CONNECTIONS * 0.9, "slow connections", 10)
        until = time.monotonic() + 5
        eventually(lambda: target.visit() and time.monotonic() > until, "5 s of slow reading")
        assert target.slow > CONNECTIONS * 0.9
        assert target.kernel_bytes() < CONNECTIONS * 300_000
    assert target.worker.memory_info().rss - before < CONNECTIONS * 250_000
    assert target.slowest_visit < VISITOR_SECONDS
