"""Measures one system: a run of wrk with its costs, and memory.

CPU time is that of the scheduler, in ns, because the ticks of /proc/PID/stat are 10 ms
long. It includes the kernel's work for the sockets. The servers start no threads that
end, so no time is lost.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import redis

from bench.peers.client import HOST, growth_by_idle_connections, send_all
from bench.peers.figures import Sample
from bench.peers.requests import WORKLOADS, Session, by_cookie, by_header, creation
from bench.peers.systems import System
from bench.peers.verify import verify
from bench.processes import Running
from tests.support.servers import RedisServer

SCRIPT = Path(__file__).with_name("load.lua")
LIVE_SESSIONS = 4000
ENDED_SESSIONS = 600
LEAST_CREATED = 500  # before the memory of sessions is measured
# Memory is read every 0.5 s, until it is steady. The error is below 1 B per session.
STEADY_READINGS = 4
STEADY_BYTES = 16_384
MOST_READINGS = 30
WARM_UP_CONNECTIONS = 64
# The fastest system makes 40,000 requests per second, and 5 % of the mix are DELETE.
DOOMED_PER_SECOND = 2000


@dataclass(frozen=True)
class Cpus:
    """One CPU for the measured service, and one for Redis, wrk and this program."""

    service: int
    load: int

    @classmethod
    def choose(cls) -> Self:
        """Take the first two CPUs that this program may use, and move to the second."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:  # noqa: PLR2004
            sys.exit("two CPUs are needed: one for the service, one for Redis and the load")
        os.sched_setaffinity(0, usable[1:2])
        return cls(*usable[:2])

    @contextmanager
    def for_service(self) -> Iterator[None]:
        """Start processes of the block on the service's CPU, which they inherit."""
        os.sched_setaffinity(0, {self.service})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.load})

    def service_busy_seconds(self) -> float:
        """Return the seconds in which the service's CPU worked or the host took it."""
        line = next(
            line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{self.service} ")
        )
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@dataclass
class Instance:
    """A running system with its Redis and the files of its requests."""

    system: System
    server: Running
    store: redis.Redis
    redis_pid: int
    folder: Path
    cpus: Cpus
    users: int = 0

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self.server.url.split(":")[2].partition("/")[0])

    @property
    def path(self) -> str:
        """Return the path of its URL."""
        return urlsplit(self.server.url).path

    def create(self, count: int, users_among: int = 0) -> list[Session]:
        """Create sessions. Every `users_among`-th has a new user. With 0, none has."""

        def requests() -> Iterator[bytes]:
            for number in range(count):
                of_user = users_among and number % users_among == 0
                self.users += bool(of_user)
                yield creation(self.path, self.users if of_user else None)

        return send_all(self.port, requests(), 201)

    def prepare(self) -> None:
        """Check the system, and create the sessions for reads."""
        if not self.system.stores_sessions:
            self._write("get-cookie", [by_cookie("GET", self.path, Session("a=b", ""))])
            return
        verify(self.port, self.path, self.store, has_header="get-header" in self.system.workloads)
        live = self.create(LIVE_SESSIONS, users_among=3)
        ended = self.create(ENDED_SESSIONS)
        send_all(self.port, [by_cookie("DELETE", self.path, session) for session in ended], 204)
        self._write("get-cookie", [by_cookie("GET", self.path, session) for session in live])
        self._write("get-header", [by_header("GET", self.path, session) for session in live])
        self._write("get-miss", [by_cookie("GET", self.path, session) for session in ended])
        self._write("post-guest", [creation(self.path)])

    def _write(self, name: str, requests: list[bytes]) -> None:
        (self.folder / name).write_bytes(b"\0".join(requests))

    def _renew(self, names: tuple[str, ...], seconds: int) -> None:
        """Write the requests that are sent once, with new users and live sessions."""
        if "post-user" in names:
            self._write("post-user", [creation(self.path, self.users)])
        if "delete" in names:
            doomed = self.create(DOOMED_PER_SECOND * seconds)
            self._write("delete", [by_cookie("DELETE", self.path, session) for session in doomed])

    def load(self, workload: str, connections: int, seconds: int) -> Sample:
        """Run wrk once. Return its figures, and the CPU time used per request."""
        names = WORKLOADS[workload]
        self._renew(names, seconds)
        pids = self.server.pid, self.redis_pid
        keys, started = self.store.dbsize(), time.monotonic()
        busy, before = self.cpus.service_busy_seconds(), [cpu_seconds(pid) for pid in pids]
        run = wrk(self.port, [str(self.folder / name) for name in names], connections, seconds)
        service, store = (cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True))
        busy = self.cpus.service_busy_seconds() - busy
        self.users += run["requests"] + connections
        count = max(1, run["requests"])
        errors = run["error_statuses"] - (count if workload == "get-miss" else 0)
        lost = run["requests"] - (self.store.dbsize() - keys) if workload.startswith("post") else 0
        return Sample(
            system=self.system.name,
            workload=workload,
            connections=connections,
            requests_per_second=count / run["seconds"],
            service_us=service / count * 1e6,
            redis_us=store / count * 1e6 if self.system.stores_sessions else 0.0,
            p50_ms=run["p50_ms"],
            p99_ms=run["p99_ms"],
            service_share=service / run["seconds"],
            others_share=max(0.0, busy - service) / (time.monotonic() - started),
            unexpected=abs(errors) + run["failures"] + max(0, lost),
        )

    def bytes_per_connection(self, count: int) -> float:
        """Return the memory of an idle connection, without the kernel's part."""
        request = (self.folder / "get-cookie").read_bytes().partition(b"\0")[0]
        return growth_by_idle_connections(self.port, request, count, lambda: self.server.memory_kib("Pss"))

    def bytes_per_session(self, count: int, users_among: int = 0) -> float:
        """Return the growth of Redis per created session, without client buffers."""
        # The first creations open connections, whose memory is not that of sessions.
        self.create(LEAST_CREATED, users_among)
        before = self._used_memory()
        self.create(count, users_among)
        return (self._used_memory() - before) / count

    def _used_memory(self) -> int:
        """Return the memory without client buffers, which Redis frees over seconds."""
        readings: list[int] = []
        for _ in range(MOST_READINGS):
            memory: dict[str, Any] = self.store.info("memory")
            readings.append(int(memory["used_memory"]) - int(memory["mem_clients_normal"]))
            last = readings[-STEADY_READINGS:]
            if len(last) == STEADY_READINGS and max(last) - min(last) <= STEADY_BYTES:
                break
            time.sleep(0.5)
        return readings[-1]


def wrk(port: int, files: list[str], connections: int, seconds: int) -> dict[str, Any]:
    """Run wrk on the requests of the files, which take turns."""
    program = shutil.which("wrk")
    assert program
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "8s", "-s", str(SCRIPT)]
    command = [program, *options, f"http://{HOST}:{port}/", "--", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def started(system: System, folder: Path, cpus: Cpus, redis_program: str) -> Iterator[Instance]:
    """Run a system and its Redis until the block ends."""
    folder.mkdir()
    with ExitStack() as stack:
        server = RedisServer(redis_program, folder)
        # An interrupt may come while the server starts.
        stack.callback(server.kill)
        server.start()
        store = stack.enter_context(redis.Redis(port=server.port))
        with cpus.for_service():
            running = stack.enter_context(system.start(server.port, folder))
        redis_pid = int(store.info("server")["process_id"])
        yield Instance(system, running, store, redis_pid, folder, cpus)
