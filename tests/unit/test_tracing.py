import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.telemetry.tracing import CollectorExporter, Tracing
from tests.support.clock import ManualClock
from tests.support.collector import Collector, collector


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Return a collector, with timeouts short enough for a test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    with collector() as running:
        yield running


def send(exporter: SpanExporter, name: str = "x") -> None:
    finished = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(finished))
    provider.get_tracer("test").start_span(name).end()
    exporter.export(finished.get_finished_spans())


def test_an_unstable_collector_is_logged_once_a_minute(found: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """Changes are logged at most once a minute, and the last line is true."""
    clock = ManualClock()
    exporter = CollectorExporter(found.url, clock)
    lines = {200: "traces arrive at the collector again", 400: "traces do not arrive at the collector (status 400)"}
    steps = [(0, 200, None), (1, 400, 400), (30, 400, None), (59, 200, None), (61, 200, 200), (121, 400, 400)]
    for seconds, status, told in [*steps, (180, 400, None), (182, 400, 400), (250, 200, 200), (320, 200, None)]:
        clock.now, found.status = 1000.0 + seconds, status
        caplog.clear()
        send(exporter)
        messages = [record.getMessage() for record in caplog.records if record.name == "service.telemetry.tracing"]
        assert len(messages) == (told is not None), seconds
        assert told is None or messages[0].startswith(lines[told])
    exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's


@pytest.mark.parametrize("end", ["", "/"])
def test_the_url_of_the_collector_may_end_in_a_slash(found: Collector, end: str) -> None:
    """The path has no empty segment, for which a collector would answer 404."""
    exporter = CollectorExporter(f"{found.url}/otlp{end}")
    send(exporter)
    exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's
    assert [path for path, _, _ in found.received] == ["/otlp/v1/traces"]


def test_the_libraries_log_nothing(
    found: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry logs neither invalid headers nor dropped spans."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "canary without an equals sign")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    found.status = 400
    tracing = Tracing(found.url)
    for _ in range(50):
        tracing.tracer.start_span("x").end()
    tracing.close()
    names = {record.name.partition(".")[0] for record in caplog.records}
    assert names == {"service"}
    assert "canary" not in caplog.text
