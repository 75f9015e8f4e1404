"""The exporter of metrics to Prometheus.

Each worker writes its numbers to a file, and the worker that answers `/metrics` adds up
all files. This is prometheus-client's multiprocess mode. It is on when
`PROMETHEUS_MULTIPROC_DIR` was set before this module was imported (`multiproc_dir.py`).
Without it, as in tests, `/metrics` has the numbers of one process.
"""

import math
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service import __version__
from service.telemetry.metrics import LOG_LINES_DROPPED, Counter, Gauge, Histogram, Labels, Metrics
from service.telemetry.multiproc_dir import VARIABLE
from service.telemetry.request_recorder import RequestRecord

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4


class PrometheusExporter:
    """Writes the metrics of a worker to its file, and those of all workers as text."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._own = CollectorRegistry()
        self._exported = [_ExportedMetric(one, self._own) for one in metrics.all()]
        build = prometheus_client.Gauge(
            "jay_build_info", "Always 1", ("version", "python"), registry=self._own, multiprocess_mode="livemax"
        )
        build.labels(__version__, platform.python_version()).set(1)

    def count_requests(self, records: Sequence[RequestRecord]) -> None:
        """Count answered requests."""
        durations: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
        for _, method, route, status, seconds, _, _, _ in records:
            durations[method, route, status].append(seconds)
        for (method, route, status), values in durations.items():
            self._metrics.requests.observe_all((method, route, str(status)), values)

    def publish(self) -> None:
        """Write the counts since the last call to the worker's file."""
        for exported in self._exported:
            exported.publish()

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus's text format.

        It blocks, because it reads files.
        """
        registry = CollectorRegistry()
        if folder := os.environ.get(VARIABLE):
            registry.register(_WithoutAbsent(MultiProcessCollector(None, folder)))  # type: ignore[no-untyped-call]
        else:
            registry.register(_WithoutAbsent(self._own))
        registry.register(_Processes())
        return prometheus_client.generate_latest(registry)


def supervisor_drop_counter(drain: Callable[[], int]) -> Callable[[], None]:
    """Return a function that counts the dropped log lines of the supervisor."""
    counter = prometheus_client.Counter(*LOG_LINES_DROPPED, registry=CollectorRegistry())
    return lambda: counter.inc(drain())


class _BulkHistogram(prometheus_client.Histogram):
    """A histogram that takes many values at once.

    The library's histogram takes one value at a time, in 1.5 µs.
    """

    def add(self, numbers: Sequence[float]) -> None:
        """Add the numbers that `metrics.Histogram.drain` returns."""
        self._sum.inc(numbers[-1])
        for bucket, number in zip(self._buckets, numbers[:-1], strict=True):
            if number:
                bucket.inc(number)


class _ExportedMetric:
    """One of our metrics, and the library's metric that writes to the worker's file."""

    def __init__(self, one: Counter | Histogram | Gauge, registry: CollectorRegistry) -> None:
        self._drain = one.drain
        self._metric: Any
        self._export: Callable[[Any, Any], None]
        described = (one.name, one.help, one.labels)
        if isinstance(one, Counter):
            self._metric = prometheus_client.Counter(*described, registry=registry)
            self._export = prometheus_client.Counter.inc
        elif isinstance(one, Histogram):
            self._metric = _BulkHistogram(*described, registry=registry, buckets=one.buckets)
            self._export = _BulkHistogram.add
        else:
            self._metric = prometheus_client.Gauge(
                *described, registry=registry, multiprocess_mode=one.multiprocess_mode
            )
            self._export = prometheus_client.Gauge.set
            if not one.labels:  # the library's gauge starts at 0
                self._metric.set(math.inf)
        self._children: dict[Labels, Any] = {} if one.labels else {(): self._metric}

    def publish(self) -> None:
        """Export the counts since the last call."""
        for labels, numbers in self._drain().items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._metric.labels(*labels)
            self._export(child, numbers)


class _WithoutAbsent(Collector):
    """The metrics of another collector, without gauges that have no number now."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        for metric in self._collector.collect():
            if metric.type == "gauge":
                metric.samples = [sample for sample in metric.samples if sample.value != math.inf]
            yield metric


class _Processes(Collector):
    """CPU time, memory and open files of the supervisor and its children.

    Needs /proc.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the library's process metrics, with one sample per process."""
        supervisor = os.getppid()
        merged: dict[str, Metric] = {}
        for pid in (supervisor, *_children(supervisor)):
            of_process = {"process": "supervisor" if pid == supervisor else _name(pid), "pid": str(pid)}
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                into = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    into.add_sample(sample.name, of_process, sample.value)
        yield from merged.values()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _name(pid: int) -> str:
    """Return whether a child is the embedded server or a worker."""
    try:
        is_server = Path(f"/proc/{pid}/comm").read_text().startswith("valkey")
    except OSError:
        is_server = False
    return "valkey" if is_server else "worker"
