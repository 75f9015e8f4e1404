import random

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import Histogram, Metrics
from service.telemetry.prometheus import Exposition

VALUES = [0.0, 0.0005, 0.00051, 0.001, 0.3, 0.5, 4.9, 5.0, 5.1, 1000.0]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_histogram_counts_like_the_librarys(at_once: bool) -> None:  # noqa: FBT001
    """One value at a time or all together: the same buckets and the same sum, bounds included from below."""
    chance = random.Random(3)
    values = VALUES + [chance.expovariate(10) for _ in range(500)]
    metrics, registry = Metrics(), prometheus_client.CollectorRegistry()
    ours = metrics.requests
    theirs = prometheus_client.Histogram("theirs", "-", buckets=ours.bounds, registry=registry)
    for value in values:
        theirs.observe(value)
    exposition = Exposition(metrics)
    if at_once:
        exposition.take([(0.0, "GET", "/x", 200, value, "id", "key") for value in values])
    else:
        for value in values:
            ours.observe(("GET", "/x", "200"), value)
    exposition.publish()
    assert buckets(exposition.text(), ours.name) == buckets(prometheus_client.generate_latest(registry), "theirs")


def buckets(text: bytes, name: str) -> dict[str, object]:
    """Return the buckets by their bound, and count and sum."""
    (family,) = (one for one in text_string_to_metric_families(text.decode()) if one.name == name)
    return {
        sample.labels.get("le", sample.name.removeprefix(name)): pytest.approx(sample.value)
        for sample in family.samples
    }


def test_what_was_published_is_not_published_again() -> None:
    """Publishing twice adds nothing, and what comes later adds up."""
    metrics = Metrics()
    exposition = Exposition(metrics)
    metrics.created.add(("s",), 2)
    exposition.publish()
    exposition.publish()
    assert b'jay_sessions_created_total{source="s"} 2.0' in exposition.text()
    metrics.created.add(("s",))
    exposition.publish()
    assert b'jay_sessions_created_total{source="s"} 3.0' in exposition.text()


def test_nothing_pending_is_lost_or_kept() -> None:
    """What is taken is gone, and what is counted meanwhile is there the next time."""
    histogram = Histogram("h", "-", ("a",), (1.0, 2.0))
    histogram.observe(("x",), 1.5)
    assert histogram.take() == {("x",): [0, 1, 0, 1.5]}
    assert histogram.take() == {}
    histogram.observe_all(("x",), [3.0, 1.0])
    assert histogram.take() == {("x",): [1, 0, 1, 4.0]}
