"""The project's rules: layers, sizes, docstrings and complete documentation."""

import ast
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import __version__
from tools import reference

ROOT = Path(__file__).parent.parent
PACKAGES = (ROOT / "jay_tracking", ROOT / "service", ROOT / "clients/python/src/jay_tracking_client")
MODULES = sorted(module for package in PACKAGES for module in package.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "clients").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
    ]
)
MAX_MODULE_LINES = 250
MAX_FUNCTION_LINES = 40
MAX_POSITIONAL = 5
MAX_README_LINES = 150
LONG_FUNCTIONS = {("service/app.py", "build")}  # a list of parts, without branches

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, Function):
            yield node


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_layers_hold() -> None:
    """The imports follow the layers, and only app.py imports both HTTP and Redis."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    """Modules, functions and parameter lists stay below the limits."""
    assert len(path.read_text("utf-8").splitlines()) <= MAX_MODULE_LINES
    for function in functions(path):
        assert function.end_lineno is not None
        if (name_of(path), function.name) not in LONG_FUNCTIONS:
            assert function.end_lineno - function.lineno < MAX_FUNCTION_LINES, function.name
        positional = [
            a.arg for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in {"self", "cls"}
        ]
        assert len(positional) <= MAX_POSITIONAL, function.name


def test_packages_export_nothing() -> None:
    """An `__init__.py` has only a docstring, and the top one has the version too."""
    for path in (module for module in MODULES if module.name == "__init__.py"):
        docstring, *rest = ast.parse(path.read_text("utf-8")).body
        assert isinstance(docstring, ast.Expr)
        assert all(isinstance(node, ast.Assign) for node in rest)
        assert len(rest) <= 1


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_states_a_behavior(path: Path) -> None:
    """Every test has a docstring that is a sentence."""
    for function in functions(path):
        if function.name.startswith("test_"):
            docstring = ast.get_docstring(function)
            assert docstring, function.name
            assert docstring.endswith("."), function.name


@pytest.mark.parametrize("file", reference.BLOCKS)
def test_lists_of_settings_and_metrics_are_current(file: str) -> None:
    """Lists of settings and metrics are current. `make reference` writes them."""
    assert (ROOT / file).read_text("utf-8") == reference.updated(file)


def test_every_alert_is_documented() -> None:
    """The table in docs/operations.md has each alert and none that does not exist."""
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "deploy/monitoring/alerts.yml").read_text("utf-8"))
    documented = re.findall(r"^\| `(Jay\w+)` \|", (ROOT / "docs/operations.md").read_text("utf-8"), re.MULTILINE)
    assert documented == alerts


def test_the_readme_is_short() -> None:
    """The README has at most 150 lines, and docs/ has the rest."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_README_LINES


def links(document: Path) -> Iterator[tuple[str, str]]:
    """Yield the file and the anchor of each link to a file of this repository."""
    content = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", content):
        path, _, anchor = "".join(target).partition("#")
        if "://" not in path:
            yield path, anchor


def anchors(document: Path) -> set[str]:
    """Return the anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """Each link's file and section exist."""
    for path, anchor in links(document):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_documents_name_code_that_exists(document: Path) -> None:
    """Files, functions, classes and constants that documents name exist.

    Documents write a name in a file as a path, a colon and the name, both in backticks.
    """
    content = document.read_text("utf-8")
    for path in re.findall(r"`((?:service|clients|tests|tools|bench|docs|deploy|requirements)/[\w./-]*)`", content):
        assert (ROOT / path).exists(), path
    for path, name in re.findall(r"`([\w./-]+\.py)`:\s+`([\w.]+)`", content):
        code = (ROOT / path).read_text("utf-8")
        for part in name.split("."):
            assert re.search(rf"\b(?:class|def) {part}\b|^ *{part}\b.* = ", code, re.MULTILINE), f"{path}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_code_names_modules_that_exist(path: Path) -> None:
    """Modules that docstrings and comments name exist, most without their folder."""
    for name in re.findall(r"`([\w/]+\.py)`", path.read_text("utf-8")):
        assert any(f"/{name_of(module)}".endswith(f"/{name}") for module in (*MODULES, *TESTS)), name


def test_the_compose_file_uses_commands_that_redis_users_need() -> None:
    """The ACL of docker-compose.yml has every command of the scripts."""
    allowed = set(
        re.findall(r"^      - \+([a-z|]+)$", (ROOT / "docker-compose.yml").read_text("utf-8"), re.MULTILINE)
    )
    calls = re.compile(r"(?:redis\.p?call\(|try\(|try, )'([A-Z]+)'")
    called = set()
    for script in (ROOT / "service" / "storage" / "scripts").glob("*.lua"):
        called |= {name.lower() for name in calls.findall(script.read_text("utf-8"))}
    called |= {"bgrewriteaof", "bitfield", "mget", "evalsha", "script|load", "select", "ping"}
    doctor_commands = {"dbsize", "getrange", "hexists", "info", "scan", "slowlog|len", "smembers", "time", "ttl"}
    assert called | doctor_commands == allowed


VERSION_PLACES = (
    ("pyproject.toml", r'^version = "(.+)"$'),
    ("service/api/openapi.yaml", r"^  version: (\S+)$"),
    ("service/api/openapi.yaml", r'jay_build_info\{.*version="(.+?)"'),
    ("docker-compose.yml", r"image: jay-tracking:(\S+)$"),
    ("deploy/cluster/compose.yaml", r"image: jay-tracking:(\S+)$"),
    ("deploy/kubernetes/overlays/development/kustomization.yaml", r"newTag: (\S+)$"),
    ("deploy/kubernetes/overlays/production/kustomization.yaml", r"newTag: (\S+)$"),
    ("deploy/kubernetes/README.md", r"^docker build -t jay-tracking:(\S+) "),
    ("deploy/kubernetes/README.md", r"^kind load docker-image jay-tracking:(\S+) "),
    ("deploy/kubernetes/README.md", r"minikube image load jay-tracking:(\S+)$"),
    ("docs/operations.md", r"\bjay-tracking:(\d\S+)$"),
    ("clients/python/pyproject.toml", r'^version = "(.+)"$'),
    ("clients/python/src/jay_tracking_client/__init__.py", r'^__version__ = "(.+)"$'),
    ("clients/js/package.json", r'^  "version": "(.+)",$'),
)


@pytest.mark.parametrize(("file", "pattern"), VERSION_PLACES)
def test_all_parts_have_one_version(file: str, pattern: str) -> None:
    """The service, both clients and the image have the same version everywhere."""
    assert re.findall(pattern, (ROOT / file).read_text("utf-8"), re.MULTILINE) == [__version__]


def test_the_locks_name_no_download_host() -> None:
    """The locks name no download host."""
    folders = ("tests/clients/kotlin", "tests/dashboard", "bench/peers/node")
    node = [ROOT / folder / "package-lock.json" for folder in folders]
    for path in (*(ROOT / "requirements").glob("*.txt"), *node):
        assert "://" not in path.read_text("utf-8")


def test_the_peers_run_with_the_versions_of_the_service() -> None:
    """The peers' lock has the service's version of each common package."""
    service, peers = (
        dict(re.findall(r"^([\w-]+)\S*==(\S+)", (ROOT / f"requirements/{name}.txt").read_text("utf-8"), re.MULTILINE))
        for name in ("runtime", "peers")
    )
    assert {"aiohttp", "redis", "uvloop"} <= service.keys() & peers.keys()
    assert all(peers[name] == service[name] for name in service.keys() & peers.keys())


def test_each_lock_adds_to_the_one_before_it() -> None:
    """Each lock has every version of the smaller lock."""
    names = ("runtime", "otel", "dev", "browser")
    plain, otel, dev, browser = (
        set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8"), re.MULTILINE))
        for name in names
    )
    assert plain < otel < dev < browser
    assert "!requirements" in (ROOT / ".dockerignore").read_text().splitlines()


@pytest.mark.parametrize("folder", ["service/api/static/vendor", "tests/browser/vendor"])
def test_vendored_files_are_unchanged(folder: str) -> None:
    """Vendored files equal their published checksums and have a license."""
    listed = {}
    for line in (ROOT / folder / "SHA256SUMS").read_text("utf-8").splitlines():
        checksum, name = line.split()
        listed[name] = checksum
    there = {
        file.relative_to(ROOT / folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.name not in {"SHA256SUMS", "README.md"}
    }
    assert there == listed
    for name in {name.partition("/")[0] for name in listed}:
        assert f"{name}/LICENSE" in listed
