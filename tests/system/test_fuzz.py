"""Thousands of requests, valid and invalid, made by schemathesis from the reference.

`make fuzz` sends more of them than `make test`, and different ones each time unless
FUZZ_SEED is set.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from service.api_keys import Scope, hash_key
from tests.support.processes import KEY, Launch

FEW = 20
# The number is per operation, in addition to the examples at its limits.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", FEW))
SEED = os.environ.get("FUZZ_SEED")
LEAST_CASES = int(os.environ.get("FUZZ_LEAST_CASES", "1000"))


def test_the_service_does_what_the_document_says(launch: Launch, project: Path, tmp_path: Path) -> None:
    """All checks pass in all phases, on valid and invalid data."""
    process = launch(
        JAY_API_KEYS=json.dumps([{"name": "all", "sha256": hash_key(KEY), "scopes": [*Scope]}]),
        # Replies may be late on a busy machine, although Redis works.
        JAY_REDIS__TIMEOUT_SECONDS="5",
    )
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "st"),
            *("--config-file", str(project / "tests" / "fuzz" / "schemathesis.toml")),
            *("run", f"{process.url}/openapi.json", "--checks", "all", "--mode", "all", "--workers", "2"),
            *("--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-color"),
            *("--report", "json", "--report-json-path", "report.json"),
            *(["--generation-deterministic"] if EXAMPLES == FEW else []),
            *(["--seed", SEED] if SEED else []),
        ],
        env={**os.environ, "PYTHONPATH": str(project), "FUZZ_KEY": KEY},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    cases = report["test_cases"]
    print(f"\nschemathesis: {cases['generated']} cases, {cases['unique_failures']} failures")  # noqa: T201 - for make fuzz
    assert cases["generated"] >= LEAST_CASES
    assert report["operations"]["tested"] == report["operations"]["selected"]
    assert {phase: outcome["status"] for phase, outcome in report["phases"].items()} == dict.fromkeys(
        ("examples", "coverage", "fuzzing", "stateful"), "success"
    )
    assert {kind: named for kind, named in report["warnings"].items() if named} == {}
    assert [line for line in process.log if '"level":"error"' in line or '"level":"warning"' in line] == []
    assert process.status_of(process.create()) == 200
