"""The installed distribution: its pytest plugin, its imports, the code in README.md."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "clients/python"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (SOURCE / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the distribution into a folder, from the files and without an index."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder)]
    run("-m", "pip", "--disable-pip-version-check", "install", *options, str(SOURCE))
    return folder


def run(*arguments: str, folder: Path | None = None, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_runs_the_tests_of_the_readme(installed: Path, tmp_path: Path) -> None:
    """pytest finds the fixture of the installed plugin, and the example passes."""
    example = next(block for block in BLOCKS if "def test_" in block)
    (tmp_path / "test_example.py").write_text(example, "utf-8")
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function")
    output = run("-m", "pytest", *options, folder=tmp_path, path=installed)
    assert f"{example.count('def test_')} passed" in output


def test_only_the_asyncio_parts_need_a_package(installed: Path) -> None:
    """The client for threads and the WSGI middleware import no package."""
    modules = "jay_tracking_client.sync, jay_tracking_client.middleware.wsgi, jay_tracking_client.testing.fake_server"
    code = f"import sys, {modules}; print('aiohttp' in sys.modules)"
    assert run("-S", "-c", code, path=installed).strip() == "False"


def test_type_checkers_see_the_types(installed: Path) -> None:
    """The distribution has the marker of typed packages."""
    assert (installed / "jay_tracking_client/py.typed").exists()


@pytest.mark.parametrize("block", BLOCKS)
def test_the_imports_of_the_readme_exist(block: str) -> None:
    """Each name that an example imports from the client exists."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("jay_tracking_client"):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, name.name) for name in node.names)
