"""Metrics of the real process: several workers, dead workers, and the shared folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.support.processes import Launch, Process, eventually, kill
from tests.support.servers import RedisServer, binaries

NO_ROOM = """
import sys, tempfile
tempfile.mkdtemp = lambda **_: open("/none/none")
from service.cli import main
sys.exit(main(["serve"]))
"""


def metrics(process: Process) -> str:
    answer = process.request("GET", "/metrics", X_API_Key=None, Authorization="Bearer demo-operator-key")
    assert answer.status == 200, answer
    return answer.body.decode()


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def folder_of(process: Process) -> Path:
    """Return the folder of the workers' metrics, from the files that they map."""
    for pid in process.worker_pids:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if found := re.search(r"(/\S*/jay-metrics-[^/]*)/", line):
                return Path(found[1])
    raise AssertionError("no worker keeps metrics")


def test_workers_are_added_up(launch: Launch) -> None:
    """Any worker returns the sum of all workers, including dead ones."""
    process = launch(JAY_SERVER__WORKERS="3")
    created = 'jay_sessions_created_total{source="jay.api.playout.1.0.0"}'
    for _ in range(30):
        process.create()
    eventually(lambda: value(metrics(process), created) == 30, "all requests in the counters")
    before = process.worker_pids
    victim = min(before)
    kill(victim)
    eventually(lambda: len(process.worker_pids - before) == 1, "another worker")
    assert value(metrics(process), created) == 30
    for _ in range(10):
        process.create()
    eventually(lambda: value(metrics(process), created) == 40, "all requests in the counters")
    eventually(
        lambda: not list(folder_of(process).glob(f"gauge_live*_{victim}.db")), "removal of the dead worker's gauges"
    )
    text = metrics(process)
    workers = set(re.findall(r'process_resident_memory_bytes\{pid="(\d+)",process="worker"\}', text))
    assert workers == {str(pid) for pid in process.worker_pids}
    assert f'process_cpu_seconds_total{{pid="{process.popen.pid}",process="supervisor"}}' in text
    assert f'process_cpu_seconds_total{{pid="{process.valkey_pid}",process="valkey"}}' in text


def test_no_folder_is_left_behind(launch: Launch, tmp_path: Path) -> None:
    """A stop removes the folder, and a start removes the folder of a killed service."""
    first = launch(TMPDIR=str(tmp_path))  # no other service starts here
    folder = folder_of(first)
    assert folder.exists()
    assert first.stop() == 0
    assert not folder.exists()
    killed = launch(JAY_REDIS__DATA_DIR="killed", TMPDIR=str(tmp_path))
    left = folder_of(killed)
    children = killed.children()
    killed.stop(signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}/maps").exists() for pid in children), "the workers notice")
    assert left.exists()
    other = launch(JAY_REDIS__DATA_DIR="other", TMPDIR=str(tmp_path))
    assert not left.exists()
    assert folder_of(other).exists()


def test_a_running_services_folder_is_left_alone(launch: Launch) -> None:
    """A start keeps the folders of other running services."""
    one = launch(JAY_REDIS__DATA_DIR="one")
    folder = folder_of(one)
    launch(JAY_REDIS__DATA_DIR="two")
    assert folder.exists()
    assert "jay_build_info" in metrics(one)


def test_the_counts_of_an_ended_worker_are_kept(launch: Launch) -> None:
    """The counts of a worker that ended by SIGTERM are kept."""
    process = launch(JAY_SERVER__WORKERS="2", JAY_SERVER__DRAIN_SECONDS="0")
    for _ in range(5):
        process.create()
    before = process.worker_pids
    os.kill(min(before), signal.SIGTERM)
    eventually(lambda: len(process.worker_pids) == 2 and process.worker_pids != before, "another worker")
    created = 'jay_sessions_created_total{source="jay.api.playout.1.0.0"}'
    eventually(lambda: value(metrics(process), created) == 5, "all requests in the counters")


def test_no_room_for_metrics(launch: Launch, environment: dict[str, str]) -> None:
    """A start that cannot make the folder fails with advice that works."""
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM], env=environment, capture_output=True, text=True, check=False
    )
    assert "cannot keep metrics (No such file or directory)" in done.stderr
    assert "JAY_METRICS__ENABLED=false" in done.stderr
    assert done.returncode == 1
    assert launch(JAY_METRICS__ENABLED="false").create()


BREAKER = 'jay_redis_breaker_open{lane="sessions"}'


def breakers(process: Process) -> list[float | None]:
    """Return each worker's gauge of the sessions breaker, from the worker's file.

    The gauge of a worker that still starts is None.
    """
    found: list[float | None] = []
    for pid in process.worker_pids:
        file = folder_of(process) / f"gauge_livemax_{pid}.db"
        metrics = {one.name: one for one in MultiProcessCollector.merge([str(file)])}  # type: ignore[no-untyped-call]
        gauge = metrics.get("jay_redis_breaker_open")
        samples = gauge.samples if gauge else []
        found += [sample.value for sample in samples if sample.labels["lane"] == "sessions"] or [None]
    return found


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that this test may break."""
    with RedisServer(binaries()["valkey"], tmp_path) as server:
        yield server


def open_all_breakers(process: Process, server: RedisServer) -> None:
    """End Redis and send requests until the breaker of every worker is open."""
    server.kill()

    def all_are_open() -> bool:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(process.request, ["POST"] * 16))
        return set(breakers(process)) == {1.0}

    eventually(all_are_open, "an open breaker in every worker")
    assert value(metrics(process), BREAKER) == 1


def test_the_breaker_gauge_of_an_idle_service_is_current(launch: Launch, own_redis: RedisServer) -> None:
    """The gauge returns to 0 once Redis is back, although no request comes."""
    process = launch(JAY_REDIS__URL=own_redis.url)
    open_all_breakers(process, own_redis)
    own_redis.start()
    eventually(lambda: value(metrics(process), BREAKER) == 0, "the breaker is closed")


def test_the_breaker_gauge_of_an_idle_worker_is_current(launch: Launch, own_redis: RedisServer) -> None:
    """Each worker updates its gauge before the metrics are requested."""
    process = launch(JAY_REDIS__URL=own_redis.url, JAY_SERVER__WORKERS="2")
    open_all_breakers(process, own_redis)
    own_redis.start()
    eventually(lambda: breakers(process) == [0.0, 0.0], "both workers' breakers are closed")
    assert value(metrics(process), BREAKER) == 0
