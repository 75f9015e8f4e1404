"""Metrics of the real process: several workers, dead ones, and the folder in which they meet."""

import re
import signal
from pathlib import Path

from tests.processes import Launch, Process, eventually, kill


def metrics(process: Process) -> str:
    answer = process.request("GET", "/metrics", X_API_Key=None, Authorization="Bearer demo-operator-key")
    assert answer.status == 200, answer
    return answer.body.decode()


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def folder_of(process: Process) -> Path:
    """Return where the process's workers keep their numbers, from the files that they hold open."""
    for pid in process.worker_pids:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if found := re.search(r"(/\S*/jay-metrics-[^/]*)/", line):
                return Path(found[1])
    raise AssertionError("no worker keeps metrics")


def test_workers_are_added_up(launch: Launch) -> None:
    """Whoever is asked tells what all have counted, also what a worker counted that has died since."""
    process = launch(JAY_SERVER__WORKERS="3")
    created = 'jay_sessions_created_total{source="jay.api.playout.1.0.0"}'
    for _ in range(30):
        process.create()
    eventually(lambda: value(metrics(process), created) == 30, "all are counted")
    before = process.worker_pids
    victim = min(before)
    kill(victim)
    eventually(lambda: len(process.worker_pids - before) == 1, "another worker")
    assert value(metrics(process), created) == 30
    for _ in range(10):
        process.create()
    eventually(lambda: value(metrics(process), created) == 40, "all are counted")
    eventually(
        lambda: not list(folder_of(process).glob(f"gauge_live*_{victim}.db")), "the dead one's gauges are gone"
    )
    text = metrics(process)
    workers = set(re.findall(r'process_resident_memory_bytes\{pid="(\d+)",process="worker"\}', text))
    assert workers == {str(pid) for pid in process.worker_pids}
    assert f'process_cpu_seconds_total{{pid="{process.popen.pid}",process="supervisor"}}' in text
    assert f'process_cpu_seconds_total{{pid="{process.valkey_pid}",process="valkey"}}' in text


def test_nothing_is_left_behind(launch: Launch) -> None:
    """The folder goes with the service; that of a killed one goes when the next starts."""
    first = launch()
    folder = folder_of(first)
    assert folder.exists()
    assert first.stop() == 0
    assert not folder.exists()
    killed = launch(JAY_REDIS__DATA_DIR="killed")
    left = folder_of(killed)
    children = killed.children()
    killed.stop(signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}/maps").exists() for pid in children), "the workers notice")
    assert left.exists()
    other = launch(JAY_REDIS__DATA_DIR="other")
    assert not left.exists()
    assert folder_of(other).exists()


def test_a_running_services_folder_is_left_alone(launch: Launch) -> None:
    """Several services may run on a machine."""
    one = launch(JAY_REDIS__DATA_DIR="one")
    folder = folder_of(one)
    launch(JAY_REDIS__DATA_DIR="two")
    assert folder.exists()
    assert "jay_build_info" in metrics(one)
