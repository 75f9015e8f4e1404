"""The lock files install the same versions with every supported pip.

Later releases on the index change nothing.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.locks

# Python 3.11.0 comes with pip 22.3, 3.12.0 with 23.2, and 3.13.0 with 24.2. None is the
# newest.
PIPS = ("22.3", "23.2", "24.2", None)
LATER = "9999.0"

Run = dict[str, str]


def pins(lock: Path) -> dict[str, str]:
    """Return the version of each package in a lock, without evaluating markers."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(\S+)", lock.read_text("utf-8"), re.MULTILINE))


def run(*command: str | Path, environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_later_release(folder: Path, name: str) -> None:
    """Write a wheel of a release that no lock contains, with every extra."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-{LATER}.dist-info"
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in ("toml", "hiredis", "lua", "requests", "d"))
    with zipfile.ZipFile(folder / f"{distribution}-{LATER}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {LATER}\n{extras}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def pip(*arguments: str | Path, environment: Mapping[str, str], folder: Path) -> str:
    return run(folder / "bin/python", "-m", "pip", *arguments, environment=environment, folder=folder)


@pytest.fixture(scope="module")
def index(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the locked wheels and a later release of each package."""
    folder = tmp_path_factory.mktemp("index")
    # This lock contains all others (tests/test_architecture.py).
    lock = project / "requirements" / "browser.txt"
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder)
    run(*download, "--require-hashes", "-r", lock, environment=os.environ, folder=folder)
    for name in pins(lock):
        write_later_release(folder, name)
    return folder


@pytest.fixture(scope="module", params=PIPS, ids=lambda version: version or "newest")
def pip_wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of one pip version."""
    version: str | None = request.param
    if version == "22.3" and sys.version_info >= (3, 12):
        pytest.skip("pip 22.3 does not run on Python 3.12 and later")
    folder = tmp_path_factory.mktemp("pip")
    wanted = "pip" if version is None else f"pip=={version}"
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", wanted, environment=os.environ, folder=folder
    )
    return next(folder.glob("pip-*.whl"))


@pytest.fixture
def venv(pip_wheel: Path, tmp_path: Path) -> Path:
    """Return an environment that contains only this pip."""
    folder = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, environment=os.environ, folder=tmp_path)
    with zipfile.ZipFile(pip_wheel) as wheel:
        wheel.extractall(next(folder.glob("lib/python*/site-packages")))
    return folder


@pytest.fixture
def offline(index: Path) -> Run:
    """Return the variables of a pip that sees only the index folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**inherited, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}


def check_installed(venv: Path, lock: Path, environment: Run) -> None:
    """Check that exactly the locked versions are installed and none is missing."""
    listing = pip("list", "--format=json", environment=environment, folder=venv)
    installed = {re.sub(r"[-_.]+", "-", one["name"].lower()): one["version"] for one in json.loads(listing)}
    for name in ("pip", "jay-tracking"):
        installed.pop(name, None)
    locked = pins(lock)
    assert installed == {name: locked.get(name) for name in installed}
    pip("check", environment=environment, folder=venv)


def test_make_installs_the_locked_versions(project: Path, venv: Path, offline: Run) -> None:
    """Every make target installs the locked versions although later ones exist."""
    (venv / ".python").touch()  # make keeps the environment with the pip under test
    for stamp, lock in ((".runtime", "runtime"), (".dev", "dev"), (".browser", "browser")):
        run("make", f"VENV={venv}", venv / stamp, environment=offline, folder=project)
        check_installed(venv, project / "requirements" / f"{lock}.txt", offline)


@pytest.mark.parametrize("options", [(), ("--no-deps",)], ids=["resolved", "as-locked"])
def test_pip_installs_the_locked_versions(project: Path, venv: Path, offline: Run, options: tuple[str, ...]) -> None:
    """pip installs the locked versions with and without dependency resolution."""
    lock = project / "requirements" / "otel.txt"
    pip("install", "--quiet", *options, "--require-hashes", "-r", lock, environment=offline, folder=venv)
    check_installed(venv, lock, offline)
