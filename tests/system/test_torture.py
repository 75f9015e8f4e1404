"""`jay-tracking torture`, and a few trials of each fault. `make torture` runs many."""

import http.server
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import redis

from service.quantities import quantity
from tests.support.http_servers import serving
from tests.support.processes import KEY, Launch, Process, command, eventually
from tests.support.servers import RedisServer, binaries
from tests.torture.kinds import KINDS, Failover, SingleServer
from tests.torture.trials import MIN_CREATIONS

TRIALS = 2
PATIENT = {"JAY_REDIS__TIMEOUT_SECONDS": "2"}  # a loaded machine may delay Redis


@pytest.mark.parametrize("kind", KINDS)
async def test_no_fault_loses_what_was_acknowledged(kind: str, tmp_path: Path) -> None:
    """Every acknowledged change is found and counted after each kind of fault.

    Only with `appendfsync everysec` may a kill of Redis or a power loss take the last.
    """
    chosen = KINDS[kind]
    if chosen.missing:
        pytest.skip(f"this needs {chosen.missing}")
    if isinstance(chosen, Failover):
        # A busy machine takes longer to vote and to connect the other replica.
        chosen = replace(chosen, down_after_seconds=1.0, outage_after_seconds=10.0)
    async with chosen.site(tmp_path / "site", "valkey", **PATIENT) as trials:
        for _ in range(TRIALS):
            outcome = await trials.run()
            assert chosen.verdict(outcome) == []
            assert outcome.acknowledged > MIN_CREATIONS


async def test_a_trial_finds_what_is_lost(tmp_path: Path) -> None:
    """A trial reports the changes and counts that a power loss has taken."""
    kind = KINDS["power-loss-everysec"]
    if kind.missing:
        pytest.skip(f"this needs {kind.missing}")
    assert isinstance(kind, SingleServer)
    # The disk always lacks the changes of the last 0.9 s.
    strict = replace(kind, may_lose_seconds=None, fsync_seconds=0.9)
    async with strict.site(tmp_path / "site", "valkey", **PATIENT) as trials:
        found = strict.verdict(await trials.run())
    assert any("did not survive." in sentence for sentence in found)
    assert any("the right number is" in sentence for sentence in found)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server whose keys a test can delete."""
    folder = tmp_path / "server"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as running:
        yield running


def run(environment: dict[str, str], service: Process, *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = {**environment, "JAY_URL": service.url, "COLUMNS": "100"}
    command_line = command("torture", "--seconds", "2", *arguments)
    return subprocess.run(command_line, env=given, capture_output=True, text=True, timeout=120, check=False)


def rows(done: "subprocess.CompletedProcess[str]") -> dict[str, list[str]]:
    """Return the rows of the table by their names."""
    found = re.findall(r"^ +([A-Z][a-z ]+?) {2,}([\d,-]+) +([\d,-]+) +([\d,-]+) *$", done.stdout, re.MULTILINE)
    return {name: numbers for name, *numbers in found}


def live_sessions(server: RedisServer) -> list[str]:
    """Return the keys of live sessions, without those that point to a successor."""
    with redis.Redis(port=server.port, decode_responses=True) as raw:
        keys = [key for key in raw.scan_iter(count=1000) if re.fullmatch(r"jay\{..\}[0-9a-f-]{36}", key)]
        values = raw.mget(keys) if keys else []
        return [key for key, value in zip(keys, values, strict=True) if value and value.startswith("[")]


def test_a_healthy_service_loses_nothing(environment: dict[str, str], launch: Launch, server: RedisServer) -> None:
    """The command finds and counts all of its sessions, and ends them."""
    service = launch(JAY_REDIS__URL=server.url, **PATIENT)
    existing = service.create()
    done = run(environment, service)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "Nothing that was acknowledged is lost." in done.stdout
    found = rows(done)
    assert found["Acknowledged"] == found["Counted"]
    assert int(found["Acknowledged"][0]) > 50
    assert int(found["Acknowledged"][2]) > 10
    assert found["Lost"] == found["Refused"] == found["Outcome unknown"] == ["0", "0", "0"]
    assert [key[-36:] for key in live_sessions(server)] == [existing]


def test_lost_sessions_are_reported(environment: dict[str, str], launch: Launch, server: RedisServer) -> None:
    """The command exits with status 1 when sessions vanish, and prints no id."""
    service = launch(JAY_REDIS__URL=server.url, **PATIENT)
    deleted: list[str] = []
    over = threading.Event()

    def delete() -> None:
        with redis.Redis(port=server.port) as raw:
            while not over.wait(0.1):
                keys = live_sessions(server)
                deleted.extend(keys[:5])
                raw.delete(*keys[:5] or ["none"])

    with ThreadPoolExecutor() as pool:
        deleting = pool.submit(delete)
        try:
            done = run(environment, service)
        finally:
            over.set()
        deleting.result()
    assert (done.returncode, done.stderr) == (1, ""), done
    assert " did not survive." in done.stdout
    assert int(rows(done)["Lost"][0]) > 0
    assert "Nothing that was acknowledged is lost." not in done.stdout
    assert not [key for key in deleted if key[-36:] in done.stdout]


def test_counts_need_a_key(environment: dict[str, str], launch: Launch) -> None:
    """With a key that may not read counts, the report says that they are missing."""
    service = launch(**PATIENT)
    done = run(environment, service, "--operator-key", KEY)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "The counts are not checked" in done.stdout
    assert rows(done)["Counted"] == ["-", "-", "-"]


@pytest.fixture
def failing_url() -> Iterator[str]:
    """Run a server that creates and ends one session, and then answers with 503."""

    class Failing(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        left: ClassVar[dict[str, int]] = {"POST": 201, "DELETE": 204}

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = 200 if self.path == "/readyz" else self.left.pop(self.command, 503)
            body = b"" if status == 204 else b'{"session_id": "x", "source": "x"}'
            self.send_response(403 if "analytics" in self.path else status)
            if body:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with serving(Failing) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_service_that_serves_nothing_fails(environment: dict[str, str], failing_url: str) -> None:
    """The outage is the whole load, and the command exits with status 1."""
    given = {**environment, "COLUMNS": "200"}
    command_line = command("torture", "--seconds", "1", "--url", failing_url, "--key", KEY)
    done = subprocess.run(command_line, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, ""), done
    assert "this run shows nothing" in done.stdout
    outage = re.search(r"Longest outage: ([\d.]+) s", done.stdout)
    assert outage
    assert float(outage[1]) >= 1
    assert "Nothing that was acknowledged is lost." not in done.stdout


@dataclass
class Interrupted:
    """A command under a load of an hour, whose output goes to files."""

    popen: "subprocess.Popen[bytes]"
    folder: Path

    def signal_and_wait(self, number: signal.Signals) -> str:
        """End the load, and return standard error with the notice."""
        self.popen.send_signal(number)
        return str(eventually((self.folder / "errors").read_text, "a notice"))

    def finish(self) -> "subprocess.CompletedProcess[str]":
        """Wait for the end and return the output."""
        status = self.popen.wait(60)
        texts = [(self.folder / name).read_text() for name in ("output", "errors")]
        return subprocess.CompletedProcess(self.popen.args, status, *texts)


@pytest.fixture
def interrupted(
    environment: dict[str, str], launch: Launch, server: RedisServer, tmp_path: Path
) -> Iterator[tuple[Interrupted, Process]]:
    """Run the command and its service until there are sessions."""
    service = launch(JAY_REDIS__URL=server.url, **PATIENT)
    given = {**environment, "JAY_URL": service.url, "COLUMNS": "100"}
    command_line = command("torture", "--seconds", "3600", "--rate", "20", "--connections", "100")
    with (tmp_path / "output").open("wb") as output, (tmp_path / "errors").open("wb") as errors:
        popen = subprocess.Popen(command_line, env=given, stdout=output, stderr=errors)
    try:
        eventually(lambda: len(live_sessions(server)) > 10, "sessions")
        yield Interrupted(popen, tmp_path), service
    finally:
        popen.kill()
        popen.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_load_only(
    interrupted: tuple[Interrupted, Process], server: RedisServer, number: signal.Signals
) -> None:
    """After a signal, the command checks and ends its sessions, and reports."""
    torture, _ = interrupted
    assert torture.signal_and_wait(number).startswith("jay-tracking: the load ends now.")
    done = torture.finish()
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done
    assert "Nothing that was acknowledged is lost." in done.stdout
    found = rows(done)
    assert found["Acknowledged"] == found["Counted"]
    assert int(found["Acknowledged"][0]) > 10
    assert live_sessions(server) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(
    interrupted: tuple[Interrupted, Process], server: RedisServer, number: signal.Signals
) -> None:
    """After a second signal, the command says how many sessions remain."""
    torture, service = interrupted
    service.stop()  # so that the command waits for it after the first signal
    torture.signal_and_wait(number)
    torture.popen.send_signal(number)
    done = torture.finish()
    assert (done.returncode, done.stdout) == (130, ""), done
    *_, last = done.stderr.splitlines()
    sessions = quantity(len(live_sessions(server)), "session")
    assert last == f"jay-tracking: did not end {sessions}. Sessions expire by themselves"


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        ({}, ("--key", "another-key"), "answers with 401 and creates no session"),
        ({"JAY_SESSION__TTL_SECONDS": "600"}, (), "Set session.ttl_seconds to at least 902"),
    ],
    ids=["key", "lifetime"],
)
def test_an_unfit_service_is_refused(
    environment: dict[str, str], launch: Launch, variables: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    """The command refuses a key or a lifetime that it cannot use, in one line."""
    done = run(environment, launch(**variables), *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
