"""`jay-tracking demo` against a running development service."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.processes import Launch, Process, command


@pytest.fixture
def service(launch: Launch) -> Process:
    """A service without sessions."""
    return launch()


def run(environment: dict[str, str], service: Process, *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = {**environment, "JAY_URL": service.url}
    return subprocess.run(command(*arguments), env=given, capture_output=True, text=True, timeout=60, check=False)


def test_a_week_that_agrees_with_itself(environment: dict[str, str], service: Process) -> None:
    """It is written through the real way: counts, sketches, lists and live sessions fit, as the doctor finds too."""
    done = run(environment, service, "demo", "--sessions", "2000")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert f"{service.url}/dashboard" in done.stdout
    counts = json.loads(run(environment, service, "counts", "--json", "--from", "7d").stdout)
    totals = counts["totals"]
    assert f"Created {totals['created']:,} sessions" in done.stdout
    assert f"ended {totals['ended']:,} of them" in done.stdout
    assert 1900 < totals["created"] < 2100
    assert 0 < totals["active"] < totals["created"] / 4
    assert 100 < totals["unique_users"] < 200
    assert len(counts["sources"]) == 5
    assert sum(point["created"] > 0 for point in counts["series"]) >= 7
    assert run(environment, service, "doctor").returncode == 0


def test_production_is_refused(environment: dict[str, str], service: Process) -> None:
    """Made-up sessions would be in production's counts for ninety days."""
    key = {"name": "k", "sha256": "0" * 64, "scopes": ["track"]}
    production = {
        "JAY_ENVIRONMENT": "production",
        "JAY_SESSION__USER_SECRET": "a secret of our own",
        "JAY_API_KEYS": json.dumps([key]),
    }
    done = run({**environment, **production}, service, "demo")
    assert done.returncode == 1
    assert "production" in done.stderr
    counts = json.loads(run(environment, service, "counts", "--json").stdout)
    assert counts["totals"]["created"] == 0


def test_without_a_service(environment: dict[str, str], service: Process, tmp_path: Path) -> None:
    """Where nobody serves, and where Redis is away, it says what to do."""
    nowhere = run({**environment, "JAY_REDIS__DATA_DIR": str(tmp_path / "none")}, service, "demo")
    assert nowhere.returncode == 1
    assert "start the service first" in nowhere.stderr
    away = run({**environment, "JAY_REDIS__URL": f"unix://{tmp_path}/none.sock"}, service, "demo")
    assert away.returncode == 1
    assert "Redis cannot be asked" in away.stderr
    few = run(environment, service, "demo", "--sessions", "5")
    assert few.returncode == 2
    assert "from 1000 to 1000000" in few.stderr
