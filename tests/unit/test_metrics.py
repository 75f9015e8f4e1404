import math
import os
import random
import subprocess
import sys
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import Gauge, Histogram, Labels, Metrics
from service.telemetry.multiproc_dir import VARIABLE
from service.telemetry.prometheus import PrometheusExporter

VALUES = [0.0, 0.0005, 0.00051, 0.001, 0.3, 0.5, 4.9, 5.0, 5.1, 1000.0]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_histogram_counts_like_prometheus_client(at_once: bool) -> None:  # noqa: FBT001
    """The buckets and the sum equal those of `prometheus_client`."""
    chance = random.Random(3)
    values = VALUES + [chance.expovariate(10) for _ in range(500)]
    metrics, registry = Metrics(), prometheus_client.CollectorRegistry()
    ours = metrics.requests
    theirs = prometheus_client.Histogram("theirs", "-", buckets=ours.buckets, registry=registry)
    for value in values:
        theirs.observe(value)
    exporter = PrometheusExporter(metrics)
    if at_once:
        exporter.count_requests([(0.0, "GET", "/x", 200, value, "id", "key", "") for value in values])
    else:
        for value in values:
            ours.observe(("GET", "/x", "200"), value)
    exporter.publish()
    assert buckets(exporter.text(), ours.name) == buckets(prometheus_client.generate_latest(registry), "theirs")


def buckets(text: bytes, name: str) -> dict[str, object]:
    """Return the buckets by their bound, with the count and the sum."""
    (family,) = (one for one in text_string_to_metric_families(text.decode()) if one.name == name)
    return {
        sample.labels.get("le", sample.name.removeprefix(name)): pytest.approx(sample.value)
        for sample in family.samples
    }


def test_published_values_are_not_published_again() -> None:
    """Publishing twice adds nothing, and later values are added."""
    metrics = Metrics()
    exporter = PrometheusExporter(metrics)
    metrics.created.add(("s",), 2)
    exporter.publish()
    exporter.publish()
    assert b'jay_sessions_created_total{source="s"} 2.0' in exporter.text()
    metrics.created.add(("s",))
    exporter.publish()
    assert b'jay_sessions_created_total{source="s"} 3.0' in exporter.text()


def test_nothing_pending_is_lost_or_kept() -> None:
    """Drained values are gone, and values counted meanwhile are drained next."""
    histogram = Histogram("h", "-", ("a",), (1.0, 2.0))
    histogram.observe(("x",), 1.5)
    assert histogram.drain() == {("x",): [0, 1, 0, 1.5]}
    assert histogram.drain() == {}
    histogram.observe_all(("x",), [3.0, 1.0])
    assert histogram.drain() == {("x",): [1, 0, 1, 4.0]}


def test_gauges_of_workers_are_added_or_the_worst_counts() -> None:
    """One open breaker and the earliest forecast count for the service."""
    modes = {one.name: one.multiprocess_mode for one in Metrics().all() if isinstance(one, Gauge)}
    worst = {"jay_redis_breaker_open": "livemax", "jay_redis_memory_full_seconds": "livemin"}
    assert modes == dict.fromkeys(modes, "livesum") | worst


def test_a_gauge_without_a_number_is_absent() -> None:
    """A forecast that does not exist is no sample, from the start of the service on."""
    metrics = Metrics()
    exporter = PrometheusExporter(metrics)

    def samples() -> list[str]:
        return [line for line in exporter.text().decode().splitlines() if line.startswith("jay_redis_memory_full")]

    assert samples() == []
    numbers: dict[Labels, float] = {}
    metrics.memory_full.set_function(lambda: numbers)
    for number, expected in ((60.0, ["jay_redis_memory_full_seconds 60.0"]), (math.inf, [])):
        numbers[()] = number
        exporter.publish()
        assert samples() == expected


def test_a_gauge_without_a_number_is_absent_in_the_sum_of_workers(tmp_path: Path) -> None:
    """The files of workers have a number for it, which is no sample."""
    program = """
from service.telemetry.metrics import Metrics
from service.telemetry.prometheus import PrometheusExporter

exporter = PrometheusExporter(Metrics())
exporter.publish()
print(exporter.text().decode())
"""
    environment = {**os.environ, VARIABLE: str(tmp_path)}
    text = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True, timeout=60)
    samples = {line.split(" ")[0].partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
    assert "jay_build_info" in samples
    assert Metrics().memory_full.name not in samples


def test_lines_that_the_supervisor_dropped_are_in_the_metrics_of_the_workers(tmp_path: Path) -> None:
    """They are added to those of the workers."""
    program = """
from service.telemetry.metrics import Metrics
from service.telemetry.prometheus import PrometheusExporter, supervisor_drop_counter

supervisor_drop_counter(lambda: 3)()
print(PrometheusExporter(Metrics()).text().decode())
"""
    environment = {**os.environ, VARIABLE: str(tmp_path)}
    text = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True, timeout=60)
    assert "jay_log_lines_dropped_total 3.0" in text.splitlines()
