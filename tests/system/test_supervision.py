"""Failing workers and servers: the supervisor restarts them with growing pauses."""

import errno
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import trustme

from tests.support.processes import (
    DEADLINE_SECONDS,
    KEY,
    PATH,
    Launch,
    Process,
    command,
    eventually,
    kill,
    until_gone,
)

FREEZER = Path("/sys/fs/cgroup")

# A service whose workers run the code in the file `fault`, and whose supervisor
# replaces a hung worker after 3 s.
FRAGILE = """
import os, sys
from pathlib import Path
from service.server import application
application._HUNG_SECONDS = 3
fault, build = Path("fault"), application.build

async def fragile(*arguments):
    code = fault.read_text() if fault.exists() else ""
    if code.startswith("once "):
        fault.unlink()
        code = code.removeprefix("once ")
    exec(code)
    return await build(*arguments)

application.build = fragile
from service.cli import main
sys.exit(main(["serve"]))
"""
FAULTS = {
    "no file descriptors": f"raise OSError({errno.EMFILE}, 'Too many open files')",
    "a module error": "import no_such_module",
    "a broken setting": "raise ValueError('not a number')",
    "gunicorn's status for a failed start": "sys.exit(3)",
    "gunicorn's status for a failed load": "sys.exit(4)",
    "a crash": "os.abort()",
}


@pytest.fixture
def fragile(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return a function that starts services whose parts can be made to fail."""
    processes: list[Process] = []

    def start(**variables: str) -> Process:
        folder = tmp_path / f"fragile-{len(processes)}"
        folder.mkdir()
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            popen = subprocess.Popen(
                [sys.executable, "-c", FRAGILE],
                cwd=tmp_path,
                env={**environment, "JAY_SERVER__WORKERS": "2", **variables},
                stdout=stdout,
                stderr=stderr,
            )
        processes.append(process := Process(popen, folder))
        return process

    yield start
    for process in processes:
        children = [*process.children()]
        process.popen.kill()
        process.popen.wait()
        until_gone(children)


def serving(process: Process, workers: int = 2) -> Process:
    """Return the process once it serves."""
    found = eventually(lambda: re.search(r"serving on ([^\s\"]+)", "\n".join(process.log)), "serving")
    process.url = found[1]
    eventually(lambda: process.is_ready() and len(process.worker_pids) == workers, "all workers")
    return process


def lines(process: Process, part: str) -> list[str]:
    """Return the log lines that contain a string."""
    return [line for line in process.log if part in line]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_worker_that_cannot_start_is_retried(fragile: Callable[..., Process], tmp_path: Path, fault: str) -> None:
    """A worker that cannot start is retried with pauses while the other serves."""
    process = serving(fragile())
    healthy, victim = sorted(process.worker_pids)
    (tmp_path / "fault").write_text(fault)
    kill(victim)
    eventually(lambda: len(lines(process, "Trying again in")) >= 3, "it is tried again")
    waits = [float(wait) for line in process.log for wait in re.findall(r"Trying again in ([0-9.]+) s", line)]
    assert waits[:3] == [0, 0.5, 1]
    assert lines(process, "1 of 2 workers run")
    assert {process.request("POST").status for _ in range(10)} == {201}
    assert healthy in process.worker_pids
    assert process.popen.poll() is None
    (tmp_path / "fault").unlink()
    eventually(lambda: len(process.worker_pids - {healthy, victim}) == 1, "another worker")
    assert process.stop() == 0


def test_an_error_of_a_thread_is_in_the_log(fragile: Callable[..., Process], tmp_path: Path) -> None:
    """Python would print it, with its message, which may quote a client."""
    (tmp_path / "fault").write_text("import threading; threading.Thread(target=lambda: 1 / 0).start()")
    process = serving(fragile())
    [line, *_] = eventually(lambda: lines(process, "uncaught error in a thread"), "the error")
    assert "ZeroDivisionError" in line


def test_a_reload_tries_again_at_once(fragile: Callable[..., Process], tmp_path: Path) -> None:
    """The operator may have fixed the reason why a worker did not start."""
    process = serving(fragile())
    (tmp_path / "fault").write_text(FAULTS["a module error"])
    kill(min(process.worker_pids))
    eventually(lambda: lines(process, "Trying again in 1.0 s"), "a pause")
    assert len(lines(process, "Trying again in 0.0 s")) == 1
    process.popen.send_signal(signal.SIGHUP)
    eventually(lambda: len(lines(process, "Trying again in 0.0 s")) == 2, "an attempt without a pause")


def test_the_log_says_why_a_worker_cannot_start(fragile: Callable[..., Process], tmp_path: Path) -> None:
    """The log has the type and the message of a worker's start error."""
    process = serving(fragile())
    (tmp_path / "fault").write_text(FAULTS["no file descriptors"])
    kill(min(process.worker_pids))
    eventually(lambda: lines(process, "cannot start: OSError: Too many open files"), "the reason")


def test_a_half_written_key_stops_no_worker(launch: Launch, tmp_path: Path) -> None:
    """A new worker uses the last valid certificate while a new one is written."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    key = tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    process = launch(
        trusting,
        JAY_SERVER__WORKERS="2",
        JAY_SERVER__TLS__CERTIFICATE=str(tmp_path / "cert.pem"),
        JAY_SERVER__TLS__KEY=str(key),
    )
    healthy, victim = eventually(lambda: len(process.worker_pids) == 2 and sorted(process.worker_pids), "two workers")
    whole = key.read_bytes()
    key.write_bytes(whole[: len(whole) // 2])
    kill(victim)
    eventually(lambda: len(process.worker_pids - {healthy, victim}) == 1, "another worker")
    assert {process.request("POST").status for _ in range(10)} == {201}
    assert healthy in process.worker_pids
    assert not lines(process, "cannot start")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets the limits of another process")
def test_a_supervisor_without_file_descriptors_goes_on(launch: Launch) -> None:
    """A supervisor without file descriptors retries until it has some again."""
    process = launch(JAY_SERVER__WORKERS="2")
    healthy, victim = eventually(lambda: len(process.worker_pids) == 2 and sorted(process.worker_pids), "two workers")
    session_id, supervisor = process.create(), process.popen.pid
    soft, hard = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, hard))
    kill(victim)
    eventually(lambda: lines(process, "Too many open files). 1 of 2 workers run"), "the reason")
    assert process.status_of(session_id) == 200
    kill(process.valkey_pid)
    eventually(lambda: lines(process, "the embedded Valkey cannot start (Too many open files)"), "the reason")
    assert process.request("GET", "/livez").status == 200
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (soft, hard))
    eventually(lambda: process.is_ready() and len(process.worker_pids - {victim}) == 2, "all processes")
    assert healthy in process.worker_pids
    eventually(lambda: process.status_of(session_id) == 200, "the session from both workers")
    assert process.stop() == 0


def test_a_service_ends_when_no_worker_can_start(fragile: Callable[..., Process], tmp_path: Path) -> None:
    """A service exits with 1 and the reason when none of its workers can start."""
    (tmp_path / "fault").write_text(FAULTS["a module error"])
    process = fragile()
    assert process.popen.wait(DEADLINE_SECONDS) == 1
    assert lines(process, "cannot start: ModuleNotFoundError: No module named 'no_such_module'")
    assert lines(process, "no other worker runs: the service cannot start")
    assert not lines(process, "serving on")
    eventually(
        lambda: not [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(tmp_path / "data")],
        "the end of the embedded server",
    )


def test_one_worker_that_cannot_start_at_first_is_retried(fragile: Callable[..., Process], tmp_path: Path) -> None:
    """A worker whose first start fails is retried if another one starts."""
    (tmp_path / "fault").write_text("once import no_such_module")
    process = serving(fragile())
    assert lines(process, "No module named 'no_such_module'")


def test_a_worker_that_crashes_repeatedly_is_restarted_with_pauses(
    fragile: Callable[..., Process], tmp_path: Path
) -> None:
    """Pauses also grow for a worker that crashes soon after each start."""
    process = serving(fragile())
    (tmp_path / "fault").write_text("import asyncio; asyncio.get_running_loop().call_later(0.3, os._exit, 7)")
    kill(min(process.worker_pids))
    eventually(lambda: lines(process, "ended with status 7. 1 of 2 workers run. Trying again in 1.0 s"), "a pause")
    assert process.is_ready()


def test_a_hung_worker_is_replaced(fragile: Callable[..., Process]) -> None:
    """A worker whose event loop hangs sends no heartbeats and is replaced."""
    process = serving(fragile())
    hung, healthy = sorted(process.worker_pids)
    os.kill(hung, signal.SIGSTOP)
    eventually(lambda: len(process.worker_pids - {hung}) == 2, "another worker")
    assert healthy in process.worker_pids
    assert lines(process, f"worker {hung} has hung for")


def test_a_worker_that_hangs_at_the_stop_is_logged(launch: Launch) -> None:
    """The log names each worker that the supervisor had to kill at the stop."""
    process = serving(launch(JAY_SERVER__WORKERS="3", JAY_SERVER__SHUTDOWN_SECONDS="0"), workers=3)
    hung = sorted(process.worker_pids)[1:]
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    assert process.stop() == 0
    for pid in hung:
        assert lines(process, f"worker {pid} was killed by SIGKILL before it had answered all its requests")


def test_a_worker_that_hangs_while_it_starts_is_replaced(fragile: Callable[..., Process], tmp_path: Path) -> None:
    """A worker that hangs before its first heartbeat is replaced."""
    process = serving(fragile())
    (tmp_path / "fault").write_text("once import time; time.sleep(600)")
    kill(min(process.worker_pids))
    found = eventually(lambda: re.search(r"worker (\d+) has hung for", "\n".join(process.log)), "it is noticed")
    until_gone([int(found[1])])
    eventually(lambda: process.is_ready() and len(process.worker_pids) == 2, "two workers")


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Stop processes one after another with SIGSTOP."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Freeze processes together, with version 1 or 2 of control groups."""
    states = {"freezer.state": ("FROZEN", "THAWED"), "cgroup.freeze": ("1", "0")}
    for root, switch in (
        (FREEZER / "freezer", "freezer.state"),
        (FREEZER / "unified", "cgroup.freeze"),
        (FREEZER, "cgroup.freeze"),
    ):
        group = root / f"jay-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / switch).exists():
            break
        group.rmdir()
    else:
        pytest.skip("no freezer control group may be made here")
    for pid in pids:
        (group / "cgroup.procs").write_text(str(pid))
    (group / switch).write_text(states[switch][0])
    try:
        yield
    finally:
        (group / switch).write_text(states[switch][1])
        for pid in pids:
            (root / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def head(length: int) -> bytes:
    """Return the head of a request that creates a session."""
    fields = f"Host: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {length}"
    return f"POST {PATH} HTTP/1.1\r\n{fields}\r\n\r\n".encode()


@pytest.mark.parametrize("pause", [stopped, frozen], ids=["SIGSTOP", "freezer"])
def test_a_pause_of_the_whole_machine_loses_nothing(
    fragile: Callable[..., Process], pause: Callable[..., object]
) -> None:
    """A pause of all processes beyond all timeouts costs no request or worker."""
    process = serving(fragile())
    address = urlsplit(process.url)
    pids = [process.popen.pid, *process.children()]
    body = b'{"user_id": "u"}'

    def connect() -> socket.socket:
        return socket.create_connection((address.hostname, address.port), timeout=DEADLINE_SECONDS)

    begun = [connect() for _ in range(25)]
    for connection in begun:
        connection.sendall(head(len(body)) + body[:4])
    process.request("GET", "/livez")  # the heads have been read now
    with pause(pids):  # type: ignore[attr-defined]  # a context manager
        for connection in begun:
            connection.sendall(body[4:])
        new = [connect() for _ in range(25)]
        for connection in new:
            connection.sendall(head(0))
        time.sleep(6)  # the pause itself: a paused service cannot be polled
    answers = []
    for connection in begun + new:
        answers.append(connection.recv(65536).split(b" ", 2)[1:2])
        connection.close()
    assert answers == [[b"201"]] * 50
    time.sleep(4)  # within 3 s the supervisor would replace workers that it found hung
    assert pids == [process.popen.pid, *process.children()]
    assert not lines(process, "has hung")
    assert process.stop() == 0


def test_requests_in_flight_outlive_a_pause_during_the_drain(fragile: Callable[..., Process]) -> None:
    """A pause during the drain does not count toward the shutdown time."""
    process = serving(fragile(JAY_SERVER__SHUTDOWN_SECONDS="4"))
    address = urlsplit(process.url)
    body = b'{"user_id": "u"}'
    with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(head(len(body)) + body[:4])
        process.request("GET", "/livez")
        pids = [process.popen.pid, *process.children()]
        process.popen.send_signal(signal.SIGTERM)
        eventually(lambda: not process.is_ready(), "draining")
        with stopped(pids):
            connection.sendall(body[4:])
            time.sleep(7)  # the pause itself, longer than the shutdown time
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert process.popen.wait(DEADLINE_SECONDS) == 0


DEV_SHM = {"read-only": "ro", "full": "size=64k", "without room for a file": "nr_inodes=1", "noexec": "noexec"}


@pytest.mark.parametrize("options", DEV_SHM.values(), ids=DEV_SHM)
def test_a_dev_shm_that_cannot_be_used_is_not_needed(
    environment: dict[str, str], tmp_path: Path, options: str
) -> None:
    """Without a usable /dev/shm the metrics are in the folder for temporary files."""
    usable = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0
    if not usable:
        pytest.skip("only root may mount a /dev/shm of its own")
    fill = "head -c 100k /dev/zero > /dev/shm/full 2>/dev/null; " if options.startswith("size") else ""
    script = f"mount -t tmpfs -o {options} none /dev/shm && {fill}exec {' '.join(command('serve'))}"
    environment.pop("TMPDIR", None)
    with (tmp_path / "stderr").open("wb") as stderr, (tmp_path / "stdout").open("wb") as stdout:
        popen = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], cwd=tmp_path, env=environment, stdout=stdout, stderr=stderr
        )
    process = serving(Process(popen, tmp_path), workers=1)
    try:
        assert process.request("POST").status == 201
        metrics = process.request("GET", "/metrics", X_API_Key=None, Authorization="Bearer demo-operator-key")
        assert metrics.status == 200
        (worker,) = process.worker_pids
        maps = Path(f"/proc/{worker}/maps").read_text()
        assert ("/dev/shm/jay-metrics-" in maps) == (options == "noexec")  # noqa: S108 - compared
    finally:
        assert process.stop() == 0
