"""The locks install the same versions whatever is released later, with every pip that a supported Python brings."""

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

# Python 3.11.0 brings pip 22.3, 3.12.0 brings 23.2 and 3.13.0 brings 24.2. None is the newest.
PIPS = ("22.3", "23.2", "24.2", None)
LATER = "9999.0"

Run = dict[str, str]


def pins(lock: Path) -> dict[str, str]:
    """Return the version of each package in a lock; markers stay unevaluated."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(\S+)", lock.read_text("utf-8"), re.MULTILINE))


def run(*command: str | Path, environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_later_release(folder: Path, name: str) -> None:
    """Write a wheel of a release that no lock names, with every extra that one could ask for."""
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
    """A folder with the locked wheels, and of each package a later release."""
    folder = tmp_path_factory.mktemp("index")
    lock = project / "requirements" / "browser.txt"  # it holds all others, see tests/test_architecture.py
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder)
    run(*download, "--require-hashes", "-r", lock, environment=os.environ, folder=folder)
    for name in pins(lock):
        write_later_release(folder, name)
    return folder


@pytest.fixture(scope="module", params=PIPS, ids=lambda version: version or "newest")
def pip_wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of one of the pips."""
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
    """An environment with that pip and nothing else."""
    folder = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, environment=os.environ, folder=tmp_path)
    with zipfile.ZipFile(pip_wheel) as wheel:
        wheel.extractall(next(folder.glob("lib/python*/site-packages")))
    return folder


@pytest.fixture
def offline(index: Path) -> Run:
    """The environment of a pip that sees that folder and nothing else."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**inherited, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}


def check_installed(venv: Path, lock: Path, environment: Run) -> None:
    """Check that exactly the locked versions are installed, and that nothing is missing."""
    listing = pip("list", "--format=json", environment=environment, folder=venv)
    installed = {re.sub(r"[-_.]+", "-", one["name"].lower()): one["version"] for one in json.loads(listing)}
    for name in ("pip", "jay-tracking"):
        installed.pop(name, None)
    locked = pins(lock)
    assert installed == {name: locked.get(name) for name in installed}
    pip("check", environment=environment, folder=venv)


def test_make_installs_the_locked_versions(project: Path, venv: Path, offline: Run) -> None:
    """`make run`, `make test` and `make browser-test` install what the locks name, with later releases on offer."""
    (venv / ".python").touch()  # the environment is there already, with the pip under test
    for stamp, lock in ((".runtime", "runtime"), (".dev", "dev"), (".browser", "browser")):
        run("make", f"VENV={venv}", venv / stamp, environment=offline, folder=project)
        check_installed(venv, project / "requirements" / f"{lock}.txt", offline)


@pytest.mark.parametrize("options", [(), ("--no-deps",)], ids=["resolved", "as-locked"])
def test_pip_installs_the_locked_versions(project: Path, venv: Path, offline: Run, options: tuple[str, ...]) -> None:
    """The image and users who add the extra for traces get what the lock names, with and without resolution."""
    lock = project / "requirements" / "otel.txt"
    pip("install", "--quiet", *options, "--require-hashes", "-r", lock, environment=offline, folder=venv)
    check_installed(venv, lock, offline)
