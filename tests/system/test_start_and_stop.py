"""SIGTERM at any time of the start, as PID 1, and to all processes at once."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.processes import DEADLINE_SECONDS, Launch, command, eventually, is_alive, until_gone

IS_LINUX = sys.platform == "linux"
TERM = 1 << (signal.SIGTERM - 1)


def can_be_pid_1() -> bool:
    """Return whether this user may create a PID namespace."""
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "--pid", "--fork", "true"], check=False).returncode == 0


def can_block_signals() -> bool:
    """Return whether `env` can start a program with a blocked signal."""
    return IS_LINUX and subprocess.run(["env", "--block-signal=TERM", "true"], check=False).returncode == 0


def holds_signals(pid: int) -> bool:
    """Return whether a process blocks or handles SIGTERM."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigCgt"))]
    return any(mask & TERM for mask in masks)


class Started:
    """A service that has just been started, optionally as PID 1 of a namespace."""

    def __init__(self, environment: dict[str, str], folder: Path, *, as_pid_1: bool) -> None:
        prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if as_pid_1 else []
        self._is_wrapped = as_pid_1
        with (folder / "stderr").open("wb") as stderr:
            self.popen = subprocess.Popen(
                [*prefix, *command("serve")], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=stderr
            )
        self.pid = eventually(self._service, "the process", pause_seconds=0.001)

    def _service(self) -> int | None:
        if not self._is_wrapped:
            return self.popen.pid
        # The child of `unshare` blocks signals too, until it starts the service. As the
        # first process of its namespace, it would lose them.
        found = [child for child in psutil.Process(self.popen.pid).children() if child.name() != "unshare"]
        return found[0].pid if found else None

    def stop_after(self, seconds: float) -> int:
        """Send SIGTERM twice and return the exit status.

        The first one is sent this many seconds after the service holds signals.
        """
        eventually(lambda: holds_signals(self.pid), "blocked or handled signals", pause_seconds=0.001)
        # The test varies the time of the signal.
        time.sleep(seconds)
        for _ in range(2):
            os.kill(self.pid, signal.SIGTERM)
        return self.popen.wait(DEADLINE_SECONDS)


@pytest.mark.skipif(not IS_LINUX, reason="/proc shows which signals a process holds")
@pytest.mark.parametrize(("workers", "as_pid_1"), [("1", False), ("2", True)], ids=["ordinary", "as PID 1"])
def test_sigterm_at_any_moment_of_the_start_ends_it(
    environment: dict[str, str],
    tmp_path: Path,
    workers: str,
    as_pid_1: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    """SIGTERM at any time of the start ends it with status 0 and leaves no process."""
    if as_pid_1 and not can_be_pid_1():
        pytest.skip("only root may make a PID namespace")
    for seconds in (0, 0.05, 0.2, 0.4, 0.7, 1.1):
        started = Started(environment | {"JAY_SERVER__WORKERS": workers}, tmp_path, as_pid_1=as_pid_1)
        assert started.stop_after(seconds) == 0, (seconds, (tmp_path / "stderr").read_text())
        assert not list((tmp_path / "data").glob("valkey.sock")), seconds
    assert not [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(tmp_path / "data")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["SIGINT", "SIGHUP"])
@pytest.mark.skipif(not IS_LINUX, reason="/proc shows which signals a process holds")
def test_other_signals_during_the_start_are_handled(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    """During the start SIGINT ends it and SIGHUP reloads the API keys."""
    started = Started(environment, tmp_path, as_pid_1=False)
    eventually(lambda: holds_signals(started.pid), "blocked or handled signals", pause_seconds=0.001)
    os.kill(started.pid, number)
    if number == signal.SIGHUP:
        eventually(lambda: "API keys reloaded" in (tmp_path / "stderr").read_text(), "the keys are reloaded")
        os.kill(started.pid, signal.SIGTERM)
    assert started.popen.wait(DEADLINE_SECONDS) == 0


@pytest.mark.skipif(not can_block_signals(), reason="this env has no --block-signal")
@pytest.mark.parametrize("milliseconds", [5, 20, 40])
def test_a_launcher_that_blocks_signals_covers_the_interpreter(
    environment: dict[str, str], tmp_path: Path, milliseconds: int
) -> None:
    """With `env --block-signal` no SIGTERM is lost before the first line of Python."""
    serve = ["env", "--block-signal=TERM", *command("serve")]
    with subprocess.Popen(serve, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as popen:
        eventually(lambda: holds_signals(popen.pid), "a blocked SIGTERM", pause_seconds=0)
        # The test varies the time of the signal.
        time.sleep(milliseconds / 1000)
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(DEADLINE_SECONDS) == 0


def test_sigterm_to_every_process_serves_until_the_drain_ends(launch: Launch, tmp_path: Path) -> None:
    """SIGTERM to all processes, as by systemd, drains and loses no session."""
    process = launch(JAY_SERVER__DRAIN_SECONDS="5", JAY_SERVER__WORKERS="2")
    eventually(lambda: len(process.worker_pids) == 2, "two workers")
    session_id, valkey = process.create(), process.valkey_pid
    for _ in range(2):  # the second time has no effect
        for pid in (process.popen.pid, *process.children()):
            os.kill(pid, signal.SIGTERM)
    eventually(lambda: process.request("GET", "/readyz").json == {"status": "draining"}, "draining")
    created = []
    for _ in range(20):
        assert process.status_of(session_id) == 200
        created.append(process.create())
    assert is_alive(valkey)
    assert process.valkey_pid == valkey
    started = time.monotonic()
    assert process.popen.wait(DEADLINE_SECONDS) == 0
    assert time.monotonic() - started < 15
    until_gone([valkey])
    again = launch(JAY_REDIS__DATA_DIR=str(tmp_path / "data"))
    assert {again.status_of(one) for one in created} == {200}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_the_embedded_server_ignores_stop_signals(launch: Launch, number: signal.Signals) -> None:
    """The embedded server ignores stop signals that are not from the supervisor."""
    process = launch()
    session_id, valkey = process.create(), process.valkey_pid
    os.kill(valkey, number)
    assert process.status_of(session_id) == 200
    assert process.valkey_pid == valkey
