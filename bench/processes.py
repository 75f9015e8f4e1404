"""Starts the measured servers, and reads their CPU time and memory from /proc."""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEY = "your_api_key_here"
PATH = "/v1/playouts/tracking/session"
TOKEN = "__Secure-jay_tracking"
START_SECONDS = 20.0


@dataclass
class Running:
    """A measured server: its URL and its working process."""

    url: str
    pid: int
    seconds_to_ready: float
    popen: "subprocess.Popen[str]"

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the user and system time so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        tick = os.sysconf("SC_CLK_TCK")
        return int(fields[11]) / tick, int(fields[12]) / tick

    def memory_kib(self, kind: str) -> int:
        """Return the memory of a kind, `Rss` or `Pss`, in KiB."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        found = re.search(rf"^{kind}:\s+(\d+) kB", rollup, re.MULTILINE)
        assert found
        return int(found[1])


@contextmanager
def hello() -> Iterator[Running]:
    """Run aiohttp's hello world."""
    popen = subprocess.Popen([sys.executable, "-m", "bench.hello"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert popen.stdout
        port = int(popen.stdout.readline())
        yield Running(f"http://127.0.0.1:{port}/", popen.pid, 0.0, popen)
    finally:
        popen.terminate()
        popen.wait()


@contextmanager
def service(**variables: str) -> Iterator[Running]:
    """Run the service as deployed, with one worker and the embedded Valkey.

    Keywords are environment variables. The log goes to a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        environment = {
            **os.environ,
            "JAY_SERVER__PORT": "0",
            "JAY_SERVER__DRAIN_SECONDS": "0",
            "JAY_REDIS__DATA_DIR": str(Path(folder) / "data"),
            **variables,
        }
        started = time.monotonic()
        with log.open("wb") as stream:
            popen = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                cwd=ROOT,
                env=environment,
                stdout=stream,
                stderr=stream,
                text=True,
            )
        try:
            while not (found := re.search(r"Serving on (\S+?),", log.read_text())):
                assert popen.poll() is None, log.read_text()
                assert time.monotonic() - started < START_SECONDS
                time.sleep(0.005)
            wait_until_ready(found[1])
            ready = time.monotonic() - started
            yield Running(found[1] + PATH, child_of(popen.pid, "python"), ready, popen)
        finally:
            popen.terminate()
            popen.wait()


def wait_until_ready(url: str) -> None:
    """Wait until /readyz answers 200. Raises `TimeoutError`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:  # noqa: S310
                if response.status == 200:  # noqa: PLR2004
                    return
        except OSError:
            time.sleep(0.005)
    raise TimeoutError(url)


def child_of(parent: int, name: str) -> int:
    """Return the child of `parent` whose command name starts with `name`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "stat").exists():
            stat = (entry / "stat").read_text()
            command, _, rest = stat[stat.index("(") + 1 :].rpartition(")")
            if int(rest.split()[1]) == parent and command.startswith(name):
                return int(entry.name)
    raise LookupError(name)


def create(url: str) -> str:
    """Create a session and return its id."""
    request = urllib.request.Request(url, method="POST", headers={"X-API-Key": KEY})  # noqa: S310
    with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
        return str(response.headers[TOKEN])
