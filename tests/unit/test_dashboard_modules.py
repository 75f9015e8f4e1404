"""The dashboard's JavaScript: preloads, and tests of its pure functions in Node.js."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STATIC = ROOT / "service" / "api" / "static"
MODULES = STATIC / "dashboard"
NODE_TESTS = ROOT / "tests" / "dashboard"
IMPORT = re.compile(r'^(?:import|export)\b[^;]*?"\./([\w.]+)";', re.MULTILINE)


def imports_of(name: str) -> set[str]:
    """Return the modules that a module imports, directly and through others."""
    found: set[str] = set()
    pending = [name]
    while pending:
        imported = set(IMPORT.findall((MODULES / pending.pop()).read_text("utf-8"))) - found
        found |= imported
        pending += imported
    return found


def test_the_page_preloads_every_imported_module() -> None:
    """Preloads save one round trip for each level of imports, so none is missing."""
    html = (STATIC / "dashboard.html").read_text("utf-8")
    preloaded = re.findall(r'<link rel="modulepreload" href="/static/dashboard/([^"]+)">', html)
    assert preloaded == sorted(imports_of("dashboard.js"))


def test_every_module_is_used() -> None:
    """The folder has the entry point, its imports and the script for a failed start."""
    used = imports_of("dashboard.js") | {"dashboard.js", "start.js"}
    assert {file.name for file in MODULES.glob("*.js")} == used


def test_the_lock_names_no_download_host() -> None:
    """`npm ci` uses the registry that the machine is configured with."""
    lock = (NODE_TESTS / "package-lock.json").read_text("utf-8")
    assert "resolved" not in lock
    assert "://" not in lock


def test_pure_functions_in_node() -> None:
    """Numbers, times, series, forecasts and messages pass their tests in Node.js."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed, and the tests of the dashboard's functions need it")
    files = sorted(str(file) for file in NODE_TESTS.glob("*.test.js"))
    assert files
    done = subprocess.run(
        [node, "--test", *files], cwd=NODE_TESTS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
