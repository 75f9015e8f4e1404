"""The types of the dashboard's JavaScript, checked by tsc."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

FOLDER = Path(__file__).parent.parent / "dashboard"
TSC = FOLDER / "node_modules" / ".bin" / "tsc"


def test_the_types_are_right() -> None:
    """Every function of the dashboard has types, and every call fits them."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, and tsc comes from npm")
    assert TSC.exists(), "run `make browser-test`, which installs tsc"
    done = subprocess.run(
        [TSC, "--project", "tsconfig.json"], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
