"""Signals, crashes and restarts of the real process with the embedded server."""

import http.client
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from service.api_keys import hash_key
from service.config.setting_list import all_settings
from tests.support.processes import (
    DEADLINE_SECONDS,
    KEY,
    PATH,
    TOKEN,
    Launch,
    Process,
    command,
    eventually,
    is_alive,
    kill,
    until_gone,
)

# For tests that kill Valkey and expect its sessions. By default, it delays writes to
# its file while the disk is busy.
SYNCED = {"JAY_REDIS__DURABILITY": "synced"}


def test_out_of_the_box(launch: Launch) -> None:
    """The start prints how to use it, and sessions survive a clean restart."""
    process = launch()
    session_id = process.create()
    shown = "\n".join(process.output)
    for expected in (process.url, KEY, "demo-operator-key", "curl -i -X POST", f"API reference:  {process.url}/docs"):
        assert expected in shown
    valkey = process.valkey_pid
    assert process.stop() == 0
    assert not is_alive(valkey)
    assert launch().status_of(session_id) == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_printed_curl_line_works_as_pasted(launch: Launch) -> None:
    """The curl command in the banner works as pasted."""
    process = launch()
    line = next(line for line in process.output if line.strip().startswith("curl"))
    answer = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=True).stdout
    assert answer.startswith("HTTP/1.1 201 ")


def test_ctrl_c_ends_it(launch: Launch) -> None:
    """SIGINT stops the service without draining."""
    process = launch(JAY_SERVER__DRAIN_SECONDS="60")
    assert process.stop(signal.SIGINT) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
def test_killing_the_supervisor_leaves_no_orphan(launch: Launch) -> None:
    """SIGKILL of the supervisor leaves no process and loses no session."""
    process = launch(**SYNCED)
    ids = [process.create() for _ in range(20)]
    pids = [*process.children()]
    process.stop(signal.SIGKILL)
    until_gone(pids)
    again = launch(**SYNCED)
    assert [again.status_of(one) for one in ids] == [200] * 20


def test_a_killed_embedded_server_comes_back_with_its_data(launch: Launch) -> None:
    """Killing Valkey right after an answer loses no session."""
    process = launch(**SYNCED)
    ids = []
    for _ in range(3):
        ids += [process.create() for _ in range(10)]
        dead = process.valkey_pid
        kill(dead)
        eventually(process.is_ready, "ready again")
        assert process.valkey_pid != dead
    assert [process.status_of(one) for one in ids] == [200] * 30


def test_a_killed_worker_is_replaced(launch: Launch) -> None:
    """A killed worker is replaced while the other one serves.

    The start is announced only once.
    """
    process = launch(JAY_SERVER__WORKERS="2")
    session_id = process.create()
    eventually(lambda: len(process.worker_pids) == 2, "two workers")
    victim = min(process.worker_pids)
    kill(victim)
    eventually(lambda: len(process.worker_pids - {victim}) == 2, "two workers again")
    assert process.status_of(session_id) == 200
    assert len([line for line in process.log if "serving on" in line]) == 1
    assert process.stop() == 0


def test_requests_to_a_hung_embedded_server_are_answered_503(launch: Launch) -> None:
    """Requests get 503 while Valkey hangs, and succeed once it continues."""
    process = launch(JAY_REDIS__TIMEOUT_SECONDS="1")
    session_id = process.create()
    valkey = process.valkey_pid
    os.kill(valkey, signal.SIGSTOP)
    try:
        assert process.status_of(session_id) == 503
        assert not process.is_ready()
        assert process.request("GET", "/livez").status == 200
    finally:
        os.kill(valkey, signal.SIGCONT)
    eventually(lambda: process.status_of(session_id) == 200, "served again")
    eventually(lambda: [line for line in process.log if "Redis cannot serve" in line], "the outage in the log")
    eventually(lambda: [line for line in process.log if "Redis serves again" in line], "its end in the log")


def test_two_services_do_not_share_a_data_directory(launch: Launch) -> None:
    """A second service refuses a data directory that is in use."""
    first = launch()
    session_id = first.create()
    with pytest.raises(AssertionError, match=r"in use by another jay-tracking.*JAY_REDIS__DATA_DIR"):
        launch()
    assert first.status_of(session_id) == 200


def test_a_port_in_use_ends_the_start(launch: Launch) -> None:
    """A port in use ends the start with one line and leaves no process."""
    first = launch()
    port = str(urlsplit(first.url).port)
    with pytest.raises(AssertionError, match=r"cannot listen on 127\.0\.0\.1:.*JAY_SERVER__PORT"):
        launch(JAY_SERVER__PORT=port, JAY_REDIS__DATA_DIR="other")


def test_draining(launch: Launch) -> None:
    """After SIGTERM /readyz is 503 and requests are served, until the exit with 0."""
    process = launch(JAY_SERVER__DRAIN_SECONDS="3")
    session_id = process.create()
    process.popen.send_signal(signal.SIGTERM)
    eventually(lambda: process.request("GET", "/readyz").status == 503, "readiness says no")
    assert process.request("GET", "/readyz").json == {"status": "draining"}
    process.popen.send_signal(signal.SIGTERM)
    answer = process.request("GET", token=session_id)
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert process.popen.wait(DEADLINE_SECONDS) == 0


def test_a_second_signal_ends_the_drain(launch: Launch) -> None:
    """After SIGINT, the supervisor does not wait long for a worker that hangs."""
    process = launch(JAY_SERVER__DRAIN_SECONDS="60", JAY_SERVER__WORKERS="2")
    hung = min(process.worker_pids)
    process.popen.send_signal(signal.SIGTERM)
    eventually(lambda: process.request("GET", "/readyz").status == 503, "readiness says no")
    os.kill(hung, signal.SIGSTOP)
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(DEADLINE_SECONDS) == 0
    assert any(f"worker {hung} was killed by SIGKILL" in line for line in process.log)


def test_a_request_in_flight_is_finished(launch: Launch) -> None:
    """A request whose body arrives after SIGTERM is answered."""
    process = launch()
    connection = http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=20)
    body = b'{"user_id": "u"}'
    connection.putrequest("POST", PATH)
    for name, value in (("X-API-Key", KEY), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders(body[:5])
    process.request("GET", "/livez")  # the first request is in progress now
    process.popen.send_signal(signal.SIGTERM)
    eventually(lambda: not process.is_ready(), "draining")
    connection.send(body[5:])
    response = connection.getresponse()
    assert response.status == 201
    assert response.headers["Connection"] == "close"
    connection.close()
    assert process.popen.wait(DEADLINE_SECONDS) == 0


def test_stopping_under_load_fails_no_request(launch: Launch) -> None:
    """During a stop every connection is served until an answer closes it."""
    process = launch(JAY_SERVER__DRAIN_SECONDS="1")
    session_id = process.create()
    answered: list[int] = []

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=20)
        while True:
            connection.request("GET", PATH, headers={"X-API-Key": KEY, TOKEN: session_id})
            response = connection.getresponse()
            response.read()
            answered.append(response.status)
            if response.headers["Connection"] == "close":
                break
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client) for _ in range(8)]
        eventually(lambda: len(answered) > 100, "load")
        assert process.stop() == 0
    assert [client.result() for client in clients] == [None] * 8
    assert set(answered) == {200}


def test_sighup_reloads_keys_and_a_broken_file_keeps_them(launch: Launch, tmp_path: Path) -> None:
    """SIGHUP reloads API keys, and an error in the file changes nothing."""
    config = tmp_path / "own.yaml"

    def entry(raw: str) -> str:
        return f"{{name: web, sha256: {hash_key(raw)}, scopes: [track]}}"

    config.write_text(f"api_keys: [{entry(KEY)}]")
    process = launch(JAY_CONFIG=str(config), JAY_SERVER__WORKERS="2")
    workers = eventually(lambda: len(process.worker_pids) == 2 and process.worker_pids, "two workers")

    def status(raw: str) -> set[int]:
        return {process.request("POST", X_API_Key=raw).status for _ in range(6)}

    def reload(content: str) -> None:
        before = len([line for line in process.log if "uses the reloaded" in line])
        config.write_text(content)
        process.popen.send_signal(signal.SIGHUP)
        eventually(
            lambda: len([line for line in process.log if "uses the reloaded" in line]) == before + 2, "both reloaded"
        )

    reload(f"api_keys: [{entry(KEY)}, {entry('second')}]")
    assert status("second") == status(KEY) == {201}
    config.write_text("api_keys: [{name: web, sha256: oops}]")
    process.popen.send_signal(signal.SIGHUP)
    eventually(lambda: [line for line in process.log if "stay as they are" in line], "the error in the log")
    assert status("second") == status(KEY) == {201}
    reload(f"api_keys: [{entry('second')}]")
    assert status(KEY) == {401}
    assert process.worker_pids == workers
    for victim in workers:  # a new worker must not accept a revoked key
        kill(victim)
    eventually(lambda: len(process.worker_pids - workers) == 2 and process.is_ready(), "two new workers")
    assert (status(KEY), status("second")) == ({401}, {201})


def test_workers_use_the_keys_that_the_supervisor_has_read(launch: Launch, tmp_path: Path) -> None:
    """A file that is removed during a reload leaves no worker with a revoked key."""
    config = tmp_path / "own.yaml"
    entries = [f"{{name: web, sha256: {hash_key(raw)}, scopes: [track]}}" for raw in (KEY, "revoked")]
    config.write_text(f"api_keys: [{', '.join(entries)}]")
    process = launch(JAY_CONFIG=str(config), JAY_SERVER__WORKERS="2")
    workers = eventually(lambda: len(process.worker_pids) == 2 and process.worker_pids, "two workers")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    config.write_text(f"api_keys: [{entries[0]}]")
    process.popen.send_signal(signal.SIGHUP)
    eventually(lambda: [line for line in process.log if "API keys reloaded" in line], "the supervisor has read it")
    config.unlink()
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: sum("uses the reloaded" in line for line in process.log) == 2, "both workers have the keys")
    for raw, status in ((KEY, 201), ("revoked", 401)):
        assert {process.request("POST", X_API_Key=raw).status for _ in range(6)} == {status}


def has_reloaded(process: Process, times: int) -> bool:
    """Return whether the supervisor has reloaded the API keys so often."""
    return sum("API keys reloaded" in line for line in process.log) == times


def test_signals_that_the_service_does_not_use_change_nothing(launch: Launch) -> None:
    """No signal starts another supervisor or changes the number of workers.

    gunicorn does so for SIGUSR2, and for SIGTTIN and SIGTTOU, which a terminal sends.
    """
    process = launch(JAY_SERVER__WORKERS="2")
    processes = eventually(lambda: process.children() if len(process.worker_pids) == 2 else None, "both workers run")
    unused = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH)
    for pid in (process.popen.pid, *process.worker_pids):
        for number in unused:
            os.kill(pid, number)
    # The kernel may deliver the first SIGHUP before the other signals, but not the
    # second.
    for times in (1, 2):
        process.popen.send_signal(signal.SIGHUP)
        eventually(partial(has_reloaded, process, times), "a later signal is handled")
    assert process.children() == processes
    assert process.status_of(process.create()) == 200
    assert process.stop() == 0


def test_log_lines_are_json_without_secrets(launch: Launch) -> None:
    """Every log line is a JSON object without keys, session ids or request targets."""
    process = launch()
    session_id = process.create()
    process.request("GET", f"{PATH}?canary", token=session_id, X_API_Key="canary-key")
    process.request("GET", "/canary")
    assert process.stop() == 0
    eventually(lambda: sum('"request"' in line for line in process.log) >= 4, "the request lines")
    for line in process.log:
        assert json.loads(line)["time"]
    log = "\n".join(process.log)
    for secret in (session_id, "canary", KEY, "demo-operator-key"):
        assert secret not in log


def test_a_long_data_directory_still_gets_a_socket(launch: Launch, tmp_path: Path) -> None:
    """A data directory may be longer than the 107 bytes of a Unix socket path."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    process = launch(JAY_REDIS__DATA_DIR=str(deep), JAY_SERVER__WORKERS="2", **SYNCED)
    assert process.status_of(process.create()) == 200
    assert (deep / "appendonlydir").is_dir()
    first = eventually(lambda: len(process.worker_pids) == 2 and process.worker_pids, "two workers")
    for worker in first:  # an ended worker must not remove the socket
        os.kill(worker, signal.SIGTERM)
    eventually(lambda: len(process.worker_pids - first) == 2 and not process.worker_pids & first, "two new workers")
    eventually(process.is_ready, "ready with the new workers", seconds=5)
    session_id = process.create()
    for _ in range(2):
        kill(process.valkey_pid)
        eventually(lambda: process.status_of(session_id) == 200, "the workers find the new server", seconds=10)


def test_a_removed_socket_is_made_again(launch: Launch, tmp_path: Path) -> None:
    """New workers find the embedded server after a program has removed its socket."""
    process = launch()
    session_id = process.create()
    (worker,) = process.worker_pids
    (tmp_path / "data" / "valkey.sock").unlink()
    eventually(lambda: [line for line in process.log if "valkey.sock was removed" in line], "the error in the log")
    kill(worker)
    eventually(lambda: process.worker_pids - {worker} and process.is_ready(), "ready with a new worker")
    assert process.status_of(session_id) == 200


def test_a_removed_data_directory_is_made_again(launch: Launch, tmp_path: Path) -> None:
    """The log has an error, and the next server makes the directory again."""
    data = tmp_path / ("d" * 110)
    process = launch(JAY_REDIS__DATA_DIR=str(data), **SYNCED)
    shutil.rmtree(data)
    eventually(lambda: [line for line in process.log if "was removed or replaced" in line], "the error in the log")
    assert process.status_of(process.create()) == 200
    kill(process.valkey_pid)
    eventually(lambda: process.is_ready() and (data / "appendonlydir").is_dir(), "a new server and directory")
    session_id = process.create()
    kill(process.valkey_pid)
    eventually(lambda: process.status_of(session_id) == 200, "the session is kept")


def test_sigterm_ends_a_starting_worker(launch: Launch) -> None:
    """A SIGTERM ends a worker at any time of its start."""
    process = launch()
    known = set(process.children())
    (worker,) = process.worker_pids
    for _ in range(5):
        os.kill(worker, signal.SIGTERM)
        # Without a pause: the worker installs its handlers soon after the fork.
        (worker,) = eventually(lambda: process.children().keys() - known, "a new worker", pause_seconds=0)
        known.add(worker)
    os.kill(worker, signal.SIGTERM)
    until_gone([worker])


def test_only_the_user_can_open_the_socket(launch: Launch, tmp_path: Path) -> None:
    """The embedded server has no port, and its socket and directory are private."""
    process = launch()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert (tmp_path / "data" / "valkey.sock").stat().st_mode & 0o077 == 0
    assert psutil.Process(process.valkey_pid).net_connections("inet") == []


def test_the_embedded_server_keeps_every_write_and_no_slow_log(launch: Launch, tmp_path: Path) -> None:
    """The embedded server is append-only, never evicts and logs no commands."""
    launch()
    with redis.Redis(unix_socket_path=str(tmp_path / "data" / "valkey.sock"), decode_responses=True) as client:
        options = client.config_get("*")
    assert options["appendonly"] == "yes"
    assert options["appendfsync"] == "everysec"
    assert options["maxmemory-policy"] == "noeviction"
    assert options["slowlog-log-slower-than"] == "-1"


@pytest.mark.skipif(shutil.which("setsid") is None, reason="setsid, of util-linux, is not installed")
def test_closing_the_terminal_ends_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Closing its terminal stops the service, although SIGHUP reloads keys."""
    terminal, inside = pty.openpty()
    serve = ["setsid", "--ctty", *command("serve")]
    popen = subprocess.Popen(serve, cwd=tmp_path, env=environment, stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    shown = b""
    while not (url := re.search(rb"serving on (http://[0-9.:]+)\r", shown)):
        shown += os.read(terminal, 4096)
    process = Process(popen, tmp_path, url=url[1].decode())
    eventually(process.is_ready, "ready")
    children = [*process.children()]
    os.close(terminal)
    assert popen.wait(DEADLINE_SECONDS) == 0
    until_gone(children)


@pytest.mark.parametrize(("keys", "warns"), [({}, False), ({"JAY_API_KEYS": "[]"}, True)], ids=["default", "none"])
def test_a_service_without_keys_says_so(launch: Launch, keys: dict[str, str], *, warns: bool) -> None:
    """Without API keys every request is 401, and the log has the reason."""
    process = launch(**keys)
    assert process.request("POST").status == (401 if warns else 201)
    assert any("no API keys: every request is answered with 401" in line for line in process.log) is warns


def test_the_start_logs_the_settings(launch: Launch) -> None:
    """The first log line has all settings without secrets."""
    process = launch(JAY_SESSION__USER_SECRET="hunter2-secret", JAY_CORS__ORIGINS='["https://www.example.com"]')
    first = json.loads(process.log[0])
    assert list(first["settings"]) == [setting.name for setting in all_settings()]
    assert first["settings"]["cors.origins"] == "https://www.example.com"
    assert first["settings"]["session.user_secret"] == "(secret)"
    assert "cors.origins=https://www.example.com" in first["message"]
    assert "analytics" not in first["message"].replace("analytics+", "")
    assert "hunter2" not in "".join(process.log)
