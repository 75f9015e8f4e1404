"""Traces of the real process, sent to a collector, also one that fails."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service import __version__
from tests.support.collector import Collector, attributes, collector
from tests.support.processes import KEY, PATH, Launch, Process, command, eventually
from tests.support.servers import free_port

EXIT_SECONDS = 10.0  # on a busy machine. The SDK alone would wait for 30 s.


def traced(launch: Launch, url: str, **variables: str) -> Process:
    # A long timeout: many requests at once on a busy machine are no outage of Redis.
    patient = {"JAY_REDIS__TIMEOUT_SECONDS": "5", **variables}
    return launch(JAY_TRACING__OTLP_ENDPOINT=url, NO_PROXY="127.0.0.1", **patient)


def sessions(process: Process, count: int = 10) -> list[str]:
    ids = []
    for _ in range(count):
        ids.append(process.create())
        assert process.status_of(ids[-1]) == 200
    return ids


def stop_in_time(process: Process) -> None:
    started = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - started < EXIT_SECONDS


def warnings(process: Process) -> list[str]:
    return [line for line in process.log if "traces" in line]


def named(found: Collector, name: str) -> list[Span]:
    return [span for span in found.spans if span.name == name]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_collector_gets_the_spans_of_all_workers(launch: Launch, workers: int) -> None:
    """The collector gets linked spans of requests and batches from every worker."""
    with collector() as found, ThreadPoolExecutor(8) as pool:
        process = traced(
            launch,
            f"{found.url}/",
            JAY_SERVER__WORKERS=str(workers),
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_EXPORTER_OTLP_HEADERS="x-auth=abc",
        )
        ids: list[str] = []

        def all_have_served() -> bool:
            for more in pool.map(lambda _: sessions(process, 2), range(8)):
                ids.extend(more)
            return len(found.instances) == workers

        # The kernel chooses the worker.
        eventually(all_have_served, "spans of each worker")
        stop_in_time(process)
        assert {path for path, _, _ in found.received} == {"/v1/traces"}
        assert {headers["x-auth"] for _, headers, _ in found.received} == {"abc"}
        assert {resource["service.name"] for resource in found.resources} == {"jay-tracking"}
        assert {resource["service.version"] for resource in found.resources} == {__version__}
        for method, operation, status in (("POST", "create", 201), ("GET", "find", 200)):
            requests, batches = named(found, f"{method} {PATH}"), named(found, f"redis {operation}")
            assert [attributes(span)["http.response.status_code"] for span in requests] == [status] * len(ids)
            linked = [link.span_id for span in batches for link in span.links]
            assert sorted(linked) == sorted(span.span_id for span in requests)
        sent = b"".join(export.SerializeToString() for _, _, export in found.received)
        assert not any(text.encode() in sent for text in (KEY, *ids))
        assert not warnings(process)


def test_a_service_name_can_be_set(launch: Launch) -> None:
    """OpenTelemetry's own variables override the name of the service."""
    with collector() as found:
        process = traced(launch, found.url, OTEL_SERVICE_NAME="jay-eu", OTEL_RESOURCE_ATTRIBUTES="team=video")
        stop_in_time(process)
        assert {(r["service.name"], r["team"]) for r in found.resources} == {("jay-eu", "video")}


def test_a_dead_collector_causes_one_log_line(launch: Launch) -> None:
    """A dead collector causes one log line and delays nothing."""
    process = traced(
        launch,
        f"http://127.0.0.1:{free_port()}",
        OTEL_BSP_SCHEDULE_DELAY="10",
        OTEL_EXPORTER_OTLP_TIMEOUT="0.1",
        OTEL_EXPORTER_OTLP_HEADERS="x-auth=canary",
    )
    sessions(process)
    eventually(lambda: warnings(process), "a line about the collector")
    sessions(process, 50)
    stop_in_time(process)
    (line,) = warnings(process)
    assert "traces do not arrive at the collector (ConnectionError)" in line
    assert "canary" not in "".join(process.log)


def test_a_hanging_collector_delays_neither_requests_nor_the_exit(launch: Launch) -> None:
    """A hanging collector delays no request, and the exit by 1 s at most."""
    with collector(is_hanging=True) as found:
        process = traced(launch, found.url, OTEL_BSP_SCHEDULE_DELAY="10")
        sessions(process)
        eventually(lambda: found.received, "an export that hangs")
        started = time.monotonic()
        sessions(process, 20)
        assert time.monotonic() - started < EXIT_SECONDS
        stop_in_time(process)
        assert not warnings(process)


@pytest.mark.parametrize("status", [307, 401, 503])
def test_a_collector_that_refuses_is_logged_once(launch: Launch, status: int) -> None:
    """An error status of the collector is logged once."""
    with collector(status=status) as found:
        process = traced(launch, found.url, OTEL_BSP_SCHEDULE_DELAY="10", OTEL_EXPORTER_OTLP_TIMEOUT="0.1")
        eventually(lambda: warnings(process), "a line about the collector")
        sessions(process)
        stop_in_time(process)
        (line,) = warnings(process)
        assert f"traces do not arrive at the collector (status {status})" in line


UNTRACED = """
import asyncio, io, os, sys
sys.modules["opentelemetry"] = None  # imports fail, except in redis-py, which checks first
import service.server.application
from service.app import build
from service.config.loading import load
from service.telemetry.logs import RequestLog

async def main():
    log = RequestLog(io.StringIO(), as_text=False, is_enabled=True)
    runner = await build(load(os.environ).settings, "redis://127.0.0.1:1/0", log)
    await runner.setup()
    await runner.cleanup()

asyncio.run(main())
print([name for name in sys.modules if "opentelemetry." in name or "trac" in name and name.startswith("service.")])
"""


def test_without_traces_nothing_of_opentelemetry_is_loaded(environment: dict[str, str], tmp_path: Path) -> None:
    """Without traces no module of OpenTelemetry is loaded."""
    done = subprocess.run(
        [sys.executable, "-c", UNTRACED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_traces_without_the_extra_are_an_error(environment: dict[str, str], tmp_path: Path) -> None:
    """Traces without the extra end the start with the file to install."""
    blocked = "import sys; sys.modules['opentelemetry'] = None; from service.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", blocked, *command("serve")[3:]],
        cwd=tmp_path,
        env={**environment, "JAY_TRACING__OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert "requirements/otel.txt" in done.stderr
