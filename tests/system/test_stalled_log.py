"""A log that is not read loses lines, and delays neither requests nor the exit."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pytest

from tests.support.processes import DEADLINE_SECONDS, KEY, PATH, Process, command, eventually

EXIT_SECONDS = 15.0
OPERATOR = "demo-operator-key"

Start = Callable[..., Process]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a service with `stderr` as its log.

    Standard output goes to a file unless it is given.
    """
    processes: list[Process] = []

    def start_it(stderr: int, stdout: int | IO[bytes] | None = None, **variables: str) -> Process:
        output = (tmp_path / "stdout").open("wb") if stdout is None else stdout
        popen = subprocess.Popen(
            command("serve"), cwd=tmp_path, env={**environment, **variables}, stdout=output, stderr=stderr
        )
        if not isinstance(output, int):
            output.close()
        process = Process(popen, tmp_path)
        processes.append(process)
        return process

    yield start_it
    for process in processes:
        process.popen.kill()
        process.popen.wait()


def ready(process: Process) -> Process:
    def url() -> str | None:
        assert process.popen.poll() is None
        found = re.search(r"Serving on (\S+?),", "\n".join(process.output))
        return found and found[1]

    process.url = eventually(url, "a line with the URL")
    eventually(process.is_ready, "ready")
    return process


def answered(process: Process, number: int) -> int:
    """Send GETs over four connections. Return how many were answered."""

    def client(share: int) -> int:
        connection = http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=20)
        statuses = []
        for _ in range(share):
            connection.request("GET", PATH, headers={"X-API-Key": KEY})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        return statuses.count(404)

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(client, [number // 4] * 4))


def metric(process: Process, name: str) -> int:
    """Return the sum of a metric over its labels."""
    text = process.request("GET", "/metrics", X_API_Key=OPERATOR).body.decode()
    return int(sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))))


def dropped_metric(process: Process) -> int:
    return metric(process, "jay_log_lines_dropped_total")


def stop_in_time(process: Process) -> None:
    started = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - started <= EXIT_SECONDS


def read_all(descriptor: int) -> list[dict[str, Any]]:
    """Return the parsed lines up to the end of the log."""
    data = b""
    while more := os.read(descriptor, 65536):
        data += more
    return [json.loads(line) for line in data.decode().splitlines()]


def dropped_in(lines: list[dict[str, Any]]) -> int:
    reports = [re.match(r"(\d+) log lines were dropped", line["message"]) for line in lines]
    return sum(int(found[1]) for found in reports if found)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("ends", [os.pipe, socket.socketpair], ids=["pipe", "socket"])
def test_requests_go_on_and_sigterm_ends_the_process(start: Start, workers: str, ends: Callable[[], Any]) -> None:
    """Without a reader, requests are answered, drops are counted, and SIGTERM works."""
    pair = ends()
    reading, writing = (end if isinstance(end, int) else end.detach() for end in pair)
    process = start(writing, JAY_SERVER__WORKERS=workers, JAY_SERVER__DRAIN_SECONDS="1")
    os.close(writing)
    ready(process)
    before = dropped_metric(process)
    assert answered(process, 10_000) == 10_000
    for _ in range(3):  # SIGHUP makes the supervisor and the workers log
        process.popen.send_signal(signal.SIGHUP)
        assert process.request("GET", "/livez").status == 200
    assert answered(process, 5_000 * int(workers)) == 5_000 * int(workers)
    eventually(lambda: dropped_metric(process) > before, "dropped lines in the metric")
    stop_in_time(process)
    assert read_all(reading)
    os.close(reading)


def test_a_reader_that_comes_back_learns_how_many_lines_it_missed(start: Start) -> None:
    """Lines read and lines reported as dropped add up to the lines written."""
    reading, writing = os.pipe()
    process = start(writing)
    os.close(writing)
    ready(process)
    assert answered(process, 20_000) == 20_000
    eventually(lambda: dropped_metric(process) > 0, "dropped lines in the metric")
    lines: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: lines.extend(read_all(reading)))
    reader.start()
    counts: list[int] = []

    def is_settled() -> bool:
        counts.append(dropped_metric(process))
        return len(counts) > 20 and counts[-1] == counts[-20]

    eventually(is_settled, "a constant number of dropped lines")
    # The request for the metrics does not count itself.
    requests = metric(process, "jay_http_request_duration_seconds_count") + 1
    stop_in_time(process)
    reader.join(DEADLINE_SECONDS)
    read = sum(line["message"] == "request" for line in lines)
    assert 0 < read < requests
    assert dropped_in(lines) == counts[-1] > 0
    assert read + dropped_in(lines) == requests
    os.close(reading)


@pytest.mark.parametrize("is_for_both", [False, True])
def test_a_log_that_is_full_before_the_start_delays_nothing(
    start: Start,
    is_for_both: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A service whose log is full before the start starts and stops."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    port = str(probe.getsockname()[1])
    probe.close()
    process = start(writing, writing if is_for_both else None, JAY_SERVER__PORT=port)
    process.url = f"http://127.0.0.1:{port}"
    eventually(process.is_ready, "ready")
    stop_in_time(process)
    refused = start(writing, writing, JAY_SERVER__PORT="http")
    assert refused.popen.wait(EXIT_SECONDS) == 2
    os.close(writing)
    os.close(reading)


def test_a_full_disk_is_no_reason_to_stop(start: Start) -> None:
    """On a full disk log lines are lost and counted, and requests are answered."""
    full = os.open("/dev/full", os.O_WRONLY)
    process = ready(start(full))
    os.close(full)
    assert answered(process, 1000) == 1000
    eventually(lambda: dropped_metric(process) >= 1000, "dropped lines in the metric")
    stop_in_time(process)
