"""Metrics for Prometheus: each worker writes its numbers to a file, and whichever is asked adds up those of all.

prometheus-client's multiprocess mode does the adding up. It is on when `PROMETHEUS_MULTIPROC_DIR` was set before
this module was imported (`metrics_folder.py`); without it only this process is told of, as in tests.
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
from service.journal import Entry
from service.metrics import LOG_LINES_DROPPED, Counter, Gauge, Histogram, Labels, Metrics

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4


class Exposition:
    """Publishes a worker's metrics, and writes those of all workers as text."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._own = CollectorRegistry()
        self._twins = [_Twin(one, self._own) for one in metrics.all()]
        build = prometheus_client.Gauge(
            "jay_build_info", "Always 1", ("version", "python"), registry=self._own, multiprocess_mode="livemax"
        )
        build.labels(__version__, platform.python_version()).set(1)

    def take(self, entries: Sequence[Entry]) -> None:
        """Count requests that were answered."""
        durations: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
        for _, method, route, status, seconds, _, _ in entries:
            durations[method, route, status].append(seconds)
        for (method, route, status), values in durations.items():
            self._metrics.requests.observe_all((method, route, str(status)), values)

    def publish(self) -> None:
        """Write down for the other workers what was counted since the last time."""
        for twin in self._twins:
            twin.publish()

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus's text format. Reads files: not for the event loop."""
        registry = CollectorRegistry()
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry.register(_Known(MultiProcessCollector(None, folder)))  # type: ignore[no-untyped-call]
        else:
            registry.register(_Known(self._own))
        registry.register(_Processes())
        return prometheus_client.generate_latest(registry)


def dropped_lines_of_supervisor(take: Callable[[], int]) -> Callable[[], None]:
    """Return what adds the dropped log lines of the supervisor, which has no journal, to those of the workers."""
    counter = prometheus_client.Counter(*LOG_LINES_DROPPED, registry=CollectorRegistry())
    return lambda: counter.inc(take())


class _BulkHistogram(prometheus_client.Histogram):
    """A histogram that takes many values at once; the library's takes one, in 1.5 µs."""

    def add(self, numbers: Sequence[float]) -> None:
        """Add what `Histogram.take` of our own returns."""
        self._sum.inc(numbers[-1])
        for bucket, number in zip(self._buckets, numbers[:-1], strict=True):
            if number:
                bucket.inc(number)


class _Twin:
    """The library's metric beside one of ours, in which a worker's numbers are kept for all to read."""

    def __init__(self, one: Counter | Histogram | Gauge, registry: CollectorRegistry) -> None:
        self._take = one.take
        self._metric: Any
        self._hand_over: Callable[[Any, Any], None]
        described = (one.name, one.meaning, one.labels)
        if isinstance(one, Counter):
            self._metric = prometheus_client.Counter(*described, registry=registry)
            self._hand_over = prometheus_client.Counter.inc
        elif isinstance(one, Histogram):
            self._metric = _BulkHistogram(*described, registry=registry, buckets=one.bounds)
            self._hand_over = _BulkHistogram.add
        else:
            self._metric = prometheus_client.Gauge(*described, registry=registry, multiprocess_mode=one.across)
            self._hand_over = prometheus_client.Gauge.set
            if not one.labels:  # the library's begins at 0
                self._metric.set(math.inf)
        self._children: dict[Labels, Any] = {} if one.labels else {(): self._metric}

    def publish(self) -> None:
        """Hand over what was counted since the last time."""
        for labels, numbers in self._take().items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._metric.labels(*labels)
            self._hand_over(child, numbers)


class _Known(Collector):
    """What another collector has, without the gauges that have no number now: the library cannot remove one."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        for metric in self._collector.collect():
            if metric.type == "gauge":
                metric.samples = [sample for sample in metric.samples if sample.value != math.inf]
            yield metric


class _Processes(Collector):
    """CPU time, memory and files of the supervisor and of all that it started, where there is a /proc."""

    def collect(self) -> Iterator[Metric]:
        """Yield the library's metrics of a process, each with a sample per process."""
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
    """Tell the embedded server from workers."""
    try:
        is_server = Path(f"/proc/{pid}/comm").read_text().startswith("valkey")
    except OSError:
        is_server = False
    return "valkey" if is_server else "worker"
