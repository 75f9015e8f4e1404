"""deploy/systemd: the unit as systemd reads it, and its command as systemd runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.api_keys import hash_key
from service.config.loading import load
from service.config.setting_list import all_settings
from service.errors import ConfigError
from service.server.application import _EXIT_SECONDS
from tests.support.confinement import system_calls
from tests.support.processes import TOKEN, Process, eventually, wait_until_ready
from tests.support.servers import RedisServer
from tests.support.systemd import UNIT, Unit

PROGRAM = Path(sys.executable).parent / "jay-tracking"
KEY = "a-key-of-a-page"
API_KEYS = f"api_keys: [{{name: web, sha256: {hash_key(KEY)}, scopes: [track]}}]\n"
MAX_EXPOSURE = 15  # of 100. A service without restrictions has 96
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
CONFINED = sys.platform == "linux" and tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 3)
needs_confinement = pytest.mark.skipif(not CONFINED, reason="the kernel has no PR_SET_MDWE (Linux 6.3)")
ATTEMPTS = """
import mmap, socket
socket.socket(socket.AF_INET), socket.socket(socket.AF_UNIX)
for attempt in (
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
):
    try: attempt()
    except PermissionError: print("refused")
"""

Start = Callable[..., Process]


@pytest.fixture
def unit() -> Unit:
    """Return the shipped unit."""
    return Unit(UNIT)


def write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


@pytest.fixture
def start(unit: Unit, tmp_path: Path) -> Iterator[Start]:
    """Return a function that runs the unit's command with a value for `redis_url`."""
    running: list[Process] = []

    def run(redis_url: str) -> Process:
        write(tmp_path / "credentials" / "user_secret", "0123456789abcdef0123456789abcdef\n")
        write(tmp_path / "credentials" / "redis_url", f"{redis_url}\n")
        write(tmp_path / "etc" / "config.yaml", f"server: {{port: 0}}\n{API_KEYS}")
        (tmp_path / "state" / "jay-tracking").mkdir(parents=True)
        environment = unit.environment(tmp_path / "credentials", tmp_path / "state")
        environment["JAY_CONFIG"] = environment["JAY_CONFIG"].replace("/etc/jay-tracking", str(tmp_path / "etc"))
        path, *arguments = unit.value("ExecStart").split()
        assert Path(path).name == PROGRAM.name
        confined = [sys.executable, "-m", "tests.support.confinement", str(UNIT), str(PROGRAM), *arguments]
        folder = tmp_path / "process"
        folder.mkdir()
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            popen = subprocess.Popen(
                confined, env={"PATH": os.environ["PATH"], **environment}, stdout=stdout, stderr=stderr
            )
        process = Process(popen, folder)
        running.append(process)
        wait_until_ready(process)
        return process

    yield run
    for process in running:
        process.stop()


@needs_systemd
def test_systemd_accepts_every_line(tmp_path: Path) -> None:
    """systemd finds no error and no unknown directive in the unit."""
    unit = tmp_path / UNIT.name
    shipped = UNIT.read_text("utf-8")
    assert shipped.count("/opt/jay-tracking/bin/jay-tracking") == 1
    unit.write_text(shipped.replace("/opt/jay-tracking/bin/jay-tracking", str(PROGRAM)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_unit_exposes_little() -> None:
    """systemd rates the exposure of the unit below the limit."""
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", str(UNIT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs_systemd
@needs_confinement
@pytest.mark.parametrize("store", ["embedded", "a Redis"])
def test_the_command_serves_under_the_restrictions_of_the_unit(start: Start, valkey: RedisServer, store: str) -> None:
    """The command serves with the variables, secrets and restrictions of the unit."""
    process = start("embedded" if store == "embedded" else valkey.url)
    created = process.request("POST", X_API_Key=KEY)
    assert created.status == 201
    assert process.request("GET", token=created.headers[TOKEN], X_API_Key=KEY).status == 200
    status = Path(f"/proc/{process.popen.pid}/status").read_text("ascii")
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    shown = "\n".join([*process.log, *process.output])
    assert "0123456789abcdef" not in shown
    process.popen.send_signal(signal.SIGHUP)
    eventually(lambda: any("API keys reloaded" in line for line in process.log), "ExecReload reads the keys")
    assert process.stop() == 0


@needs_systemd
@needs_confinement
def test_the_restrictions_apply() -> None:
    """Under the restrictions, memory cannot be code, and packets cannot be read."""
    command = [sys.executable, "-m", "tests.support.confinement", str(UNIT), sys.executable, "-c", ATTEMPTS]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "refused\nrefused\n"


@needs_systemd
def test_the_restrictions_are_those_that_systemd_lists(unit: Unit) -> None:
    """The filter refuses privileged calls and allows those of network services."""
    calls = system_calls(unit.values("SystemCallFilter"))
    assert {"socket", "execve", "clone", "openat"} <= calls
    assert calls.isdisjoint({"mount", "chroot", "setuid", "ptrace", "bpf", "reboot", "io_uring_setup"})


def test_the_variables_are_settings_and_name_the_credentials(unit: Unit, tmp_path: Path) -> None:
    """Each variable sets a setting, and each credential is the value of one."""
    variables = unit.environment(Path("/credentials"), Path("/var/lib"))
    known = {setting.variable: setting.name for setting in all_settings()}
    assert {name.removesuffix("_FILE") for name in variables} <= {*known, "JAY_CONFIG"}
    assert {value for value in variables.values() if value.startswith("/credentials/")} == {
        f"/credentials/{name}" for name in unit.credentials
    }
    # With DynamicUser, the state directory is a link that root owns. The embedded
    # Valkey needs a folder of its user.
    assert unit.value("StateDirectory") == Path(variables["JAY_REDIS__DATA_DIR"]).parent.name
    write(tmp_path / "config.yaml", "{}\n")
    with pytest.raises(ConfigError, match="no client has access"):
        load({"JAY_ENVIRONMENT": variables["JAY_ENVIRONMENT"]}, tmp_path / "config.yaml")


def test_systemd_waits_longer_than_the_longest_shutdown(project: Path, unit: Unit) -> None:
    """`TimeoutStopSec` is longer than the longest shutdown that the settings allow."""
    server = json.loads((project / "config.schema.json").read_text("utf-8"))["properties"]["server"]["properties"]
    longest = server["drain_seconds"]["maximum"] + server["shutdown_seconds"]["maximum"]
    assert int(unit.value("TimeoutStopSec")) > longest + _EXIT_SECONDS
    assert unit.value("KillMode") == "mixed"
