"""The real process: `python -m service serve` in its own directory."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

KEY = "your_api_key_here"
PATH = "/v1/playouts/tracking/session"
COUNTS_PATH = "/v1/playouts/tracking/analytics/sessions"
TOKEN = "__Secure-jay_tracking"
# A loaded machine may delay Redis for longer than the default timeout, 0.25 s.
PATIENT = {"JAY_REDIS__TIMEOUT_SECONDS": "5"}
DEADLINE_SECONDS = 30.0


def eventually(
    check: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS, pause_seconds: float = 0.01
) -> Any:
    """Return the first true result of `check`, and fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(pause_seconds)
    return result


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """Return the body as JSON."""
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Process:
    """A running service whose output goes to files."""

    popen: subprocess.Popen[bytes]
    folder: Path
    tls: ssl.SSLContext | None = None
    url: str = ""

    @property
    def log(self) -> list[str]:
        """Return the log lines so far."""
        return (self.folder / "stderr").read_text().splitlines()

    @property
    def output(self) -> list[str]:
        """Return the standard output so far."""
        return (self.folder / "stdout").read_text().splitlines()

    def request(self, method: str, path: str = PATH, **headers: str | None) -> Answer:
        """Send a request with the demo key.

        Keywords are further headers, with `_` for `-`.
        """
        given = {"X-API-Key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
        given[TOKEN] = given.pop("token", None)
        plain = {name: value for name, value in given.items() if value is not None}
        request = urllib.request.Request(self.url + path, method=method, headers=plain)  # noqa: S310 - our own URL
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.tls) as response:  # noqa: S310
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def create(self) -> str:
        """Create a session and return its id."""
        answer = self.request("POST")
        assert answer.status == 201, answer
        return answer.headers[TOKEN]

    def status_of(self, session_id: str) -> int:
        """Return the status of reading a session, and 0 without an answer."""
        try:
            return self.request("GET", token=session_id).status
        except OSError:
            return 0

    def totals(self) -> dict[str, int]:
        """Return the totals of the counts of the last day."""
        counts: dict[str, int] = self.request("GET", COUNTS_PATH, X_API_Key="demo-operator-key").json["totals"]
        return counts

    def is_ready(self) -> bool:
        """Return whether /readyz answers 200."""
        try:
            return self.request("GET", "/readyz").status == 200
        except OSError:
            return False

    def in_front(self, name: str) -> Self:
        """Return this proxy when it passes requests on. One that does not is killed."""
        try:
            eventually(lambda: self.status_of("x") == 404, f"{name} answers")
        except BaseException:
            self.popen.kill()
            self.popen.wait()
            raise
        return self

    def children(self) -> dict[int, str]:
        """Return the pids and names of the process's children."""
        try:
            return {child.pid: child.name() for child in psutil.Process(self.popen.pid).children()}
        except psutil.NoSuchProcess:
            return {}

    @property
    def valkey_pid(self) -> int:
        """Return the pid of the embedded server."""
        return next(pid for pid, name in self.children().items() if name.startswith("valkey"))

    @property
    def worker_pids(self) -> set[int]:
        """Return the pids of the workers."""
        return {pid for pid, name in self.children().items() if not name.startswith("valkey")}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.popen.wait(DEADLINE_SECONDS)


def is_alive(pid: int) -> bool:
    """Return whether a process runs.

    A zombie process does not run.
    """
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


Launch = Callable[..., Process]


PROJECT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "service")


def environment_in(folder: Path) -> dict[str, str]:
    """Return a process environment: config.yaml, a free port, its own data."""
    # Standard output is buffered, as it usually is.
    other = ("JAY_", "PYTHONUNBUFFERED")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(other)}
    return {
        **inherited,
        "PYTHONPATH": str(PROJECT),
        "JAY_CONFIG": str(PROJECT / "config.yaml"),
        "JAY_SERVER__PORT": "0",
        "JAY_SERVER__DRAIN_SECONDS": "0",
        "JAY_REDIS__DATA_DIR": str(folder / "data"),
    }


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process in the test's folder."""
    return environment_in(tmp_path)


def command(*arguments: str) -> list[str]:
    """Return a command line of the program."""
    return [*PROGRAM, *arguments]


def start_service(folder: Path, environment: dict[str, str], program: Sequence[str] = PROGRAM) -> Process:
    """Start a service in the parent of `folder`, which gets its output."""
    folder.mkdir()
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        popen = subprocess.Popen(
            [*program, "serve"], cwd=folder.parent, env=environment, stdout=stdout, stderr=stderr
        )
    return Process(popen, folder)


def wait_until_ready(process: Process) -> None:
    """Find out the URL of a started service, and return when it is ready."""

    def listening() -> str | None:
        found = re.search(r"serving on (\S+?)\"", "\n".join(process.log))
        assert found or process.popen.poll() is None, "\n".join(process.log)
        return found and found[1]

    process.url = eventually(listening, "a line that tells the URL")
    eventually(process.is_ready, "ready")


@pytest.fixture
def launch(environment: dict[str, str], tmp_path: Path) -> Iterator[Launch]:
    """Start services, with keywords as further environment variables.

    They are patient with Redis.
    """
    processes: list[Process] = []

    def start(tls: ssl.SSLContext | None = None, program: Sequence[str] = PROGRAM, **variables: str) -> Process:
        folder, given = tmp_path / f"process-{len(processes)}", {**PATIENT, **environment, **variables}
        process = start_service(folder, given, program)
        process.tls = tls
        processes.append(process)
        wait_until_ready(process)
        return process

    yield start
    for process in processes:
        valkeys = [pid for pid, name in process.children().items() if name.startswith("valkey")]
        process.popen.kill()
        process.popen.wait()
        until_gone(valkeys)


def kill(pid: int) -> None:
    """Kill a process and return when it is gone."""
    os.kill(pid, signal.SIGKILL)
    until_gone([pid])


def until_gone(pids: Iterable[int]) -> None:
    """Return when none of these processes runs."""
    eventually(lambda: not any(map(is_alive, pids)), "all processes are gone")
