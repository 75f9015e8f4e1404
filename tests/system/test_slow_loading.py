"""An embedded server that loads many keys.

The service listens meanwhile, logs the progress and can be stopped.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.processes import DEADLINE_SECONDS, Process, command, eventually, is_alive, until_gone

ENTRIES = 600_000  # loading takes a second or two
ATTEMPTS = 10


def write_append_only_file(data: Path, *, end: bytes = b"") -> None:
    """Write the append-only file of a server with many keys."""
    folder = data / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    with (folder / "appendonly.aof.1.incr.aof").open("wb") as file:
        for start in range(0, ENTRIES, 10_000):
            entries = (b"*3\r\n$3\r\nSET\r\n$8\r\n%08d\r\n$1\r\nx\r\n" % n for n in range(start, start + 10_000))
            file.write(b"".join(entries))
        file.write(end)


@dataclass
class Loading:
    """A service whose embedded server is stopped while it loads."""

    process: Process
    valkey: psutil.Process

    def wait_for(self, pattern: str) -> str:
        """Return the first group of the pattern in the log, once a line matches."""
        found = eventually(lambda: re.search(pattern, "\n".join(self.process.log)), pattern)
        return str(found[1])


@pytest.fixture
def serve() -> Iterator[list[Process]]:
    """Return a list of processes that are ended after the test."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        end(process)


def end(process: Process) -> None:
    """Kill a service, and wait until its server has ended too."""
    servers = [pid for pid, name in process.children().items() if name.startswith("valkey")]
    process.popen.kill()
    process.popen.wait()
    until_gone(servers)


def start(environment: dict[str, str], folder: Path, processes: list[Process]) -> Process:
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        popen = subprocess.Popen(command("serve"), cwd=folder, env=environment, stdout=stdout, stderr=stderr)
    processes.append(Process(popen, folder))
    return processes[-1]


def suspended(process: Process, *, when: str) -> Loading:
    """Stop the embedded server, as soon as it exists or once it loads."""

    def server() -> psutil.Process | None:
        if when == "loading" and not any("is loading its data" in line for line in process.log):
            return None
        found = [pid for pid, name in process.children().items() if name.startswith("valkey")]
        return psutil.Process(found[0]) if found else None

    valkey = eventually(server, "the embedded server", pause_seconds=0)
    valkey.suspend()
    return Loading(process, valkey)


def start_silent(environment: dict[str, str], folder: Path, processes: list[Process]) -> Loading:
    """Start a service whose server is stopped before its first answer.

    The server answers some milliseconds after its start, and a busy machine may stop it
    later than that. Then the next attempt begins.
    """
    for _ in range(ATTEMPTS):
        loading = suspended(start(environment, folder, processes), when="silent")
        if loading.wait_for("(listening|serving) on ") == "listening":
            return loading
        end(processes.pop())
    raise AssertionError("the server was always faster")


@pytest.mark.parametrize("when", ["loading", "silent"])
def test_the_service_listens_while_its_server_loads(
    environment: dict[str, str], tmp_path: Path, serve: list[Process], when: str
) -> None:
    """While Valkey loads, the service is live and not ready, and then it serves."""
    if when == "loading":
        write_append_only_file(tmp_path / "data")
        loading = suspended(start(environment, tmp_path, serve), when=when)
    else:
        loading = start_silent(environment, tmp_path, serve)
    process = loading.process
    process.url = loading.wait_for(r"listening on (\S+)\. Requests are answered with 503")
    assert process.request("GET", "/livez").status == 200
    assert process.request("GET", "/readyz").status == 503
    refused = process.request("POST")
    assert refused.status == 503
    assert refused.headers["Retry-After"]
    assert refused.json["type"] == "urn:jay:problem:store-unavailable"
    if when == "loading":
        assert loading.wait_for(r"is loading its data: (\d+% of \d+ MiB)")
    else:
        assert loading.wait_for(r"(the embedded Valkey does not answer yet after \d+ s)")
    assert not [line for line in process.log if "serving on" in line]
    assert process.output == []
    loading.valkey.resume()
    assert loading.wait_for(r"serving on ([^\s\"]+)") == process.url
    eventually(process.is_ready, "ready")
    # The breaker that the first POST has opened may be open for a moment longer.
    eventually(lambda: process.request("POST").status == 201, "a session is created")
    assert process.status_of(process.create()) == 200
    assert process.stop() == 0


def test_sigterm_ends_a_service_whose_server_loads(
    environment: dict[str, str], tmp_path: Path, serve: list[Process]
) -> None:
    """SIGTERM stops a service whose embedded server loads or hangs."""
    write_append_only_file(tmp_path / "data")
    loading = suspended(start(environment, tmp_path, serve), when="loading")
    loading.process.popen.send_signal(signal.SIGTERM)
    assert loading.process.popen.wait(15) == 0
    assert not is_alive(loading.valkey.pid)


def test_data_that_cannot_be_loaded_ends_the_start(
    environment: dict[str, str], tmp_path: Path, serve: list[Process]
) -> None:
    """Invalid data ends the start with the path of Valkey's log."""
    write_append_only_file(tmp_path / "data", end=b"garbage\r\n" * 10)
    process = start(environment, tmp_path, serve)
    assert process.popen.wait(DEADLINE_SECONDS) == 1
    assert [line for line in process.log if "the embedded Valkey does not start" in line and "valkey.log" in line]
    assert "Bad file format" in (tmp_path / "data" / "valkey.log").read_text()


def test_a_server_that_is_killed_while_it_loads_is_started_again(
    environment: dict[str, str], tmp_path: Path, serve: list[Process]
) -> None:
    """A Valkey that is killed while it loads is started again."""
    write_append_only_file(tmp_path / "data")
    loading = suspended(start(environment, tmp_path, serve), when="loading")
    loading.process.url = loading.wait_for(r"listening on (\S+)\. ")
    os.kill(loading.valkey.pid, signal.SIGKILL)
    assert loading.wait_for(r"the embedded Valkey (was killed by SIGKILL)")
    loading.wait_for(r"(serving on)")
    eventually(loading.process.is_ready, "ready")
