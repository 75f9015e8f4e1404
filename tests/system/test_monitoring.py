"""`deploy/monitoring`: alerts and panels use metrics that exist, in valid files."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.telemetry.metrics import Counter, Histogram, Metrics
from tests.support.processes import Launch

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "monitoring"
OF_PROMETHEUS = {"up", "job", "instance", "le"}


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "grafana/dashboards/jay-tracking.json").read_text("utf-8"))
    return content


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in alerts())
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (variable["query"]["query"] for variable in dashboard()["templating"]["list"])


def test_every_metric_exists(launch: Launch) -> None:
    """Every metric and label of the alerts and panels exists."""
    answer = launch().request("GET", "/metrics", X_API_Key="demo-operator-key")
    names = set(re.findall(r"^(\w+)[ {]", answer.body.decode(), re.MULTILINE)) | {"up"}
    labels = set(re.findall(r'(\w+)="', answer.body.decode())) | OF_PROMETHEUS
    for one in Metrics().all():
        labels |= set(one.labels)
        endings = ("_bucket", "_count", "_sum") if isinstance(one, Histogram) else ("",)
        names |= {one.name + ("_total" if isinstance(one, Counter) else ending) for ending in endings}
    asked = list(expressions())
    assert len(asked) > 25
    for expression in asked:
        used = set(re.findall(r"\b(?:jay|process)_\w+|\bup\b", expression))
        assert used, expression
        assert used <= names, expression
        chosen = set(re.findall(r"(\w+)=~?\"", expression)) | set(re.findall(r"(\w+)!=", expression))
        grouped = {name.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for name in group.split(",")}
        assert chosen | grouped <= labels, expression


def test_an_alert_says_what_to_do() -> None:
    """Every alert has a severity, a summary and an action."""
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "action"}
        assert rule["for"]


def test_panels_do_not_overlap() -> None:
    """Panels have titles and descriptions, and do not overlap."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        assert panel["title"]
        assert panel["description"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_the_alerts() -> None:
    """promtool accepts the alerts."""
    done = subprocess.run(["promtool", "check", "rules", FOLDER / "alerts.yml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_monitoring_profile_mounts_existing_files(project: Path) -> None:
    """The profile `monitoring` mounts existing files and listens only on loopback."""
    services = yaml.safe_load((project / "docker-compose.yml").read_text("utf-8"))["services"]
    monitoring = {name: one for name, one in services.items() if "monitoring" in one.get("profiles", [])}
    assert set(monitoring) == {"prometheus", "grafana"}
    for one in monitoring.values():
        assert one["profiles"] == ["monitoring"]
        assert all(port.startswith("127.0.0.1:") for port in one["ports"])
        files = [volume.split(":")[0] for volume in one["volumes"] if volume.startswith("./")]
        assert files
        assert all((project / file).exists() for file in files)
