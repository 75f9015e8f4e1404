"""The documents name files, classes and functions that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT

# The changelog and the decisions are dated. They may name what has gone since.
DATED = {"CHANGELOG.md", "docs/decisions.md"}
FOLDERS = "bench|clients|deploy|docs|jay_tracking|requirements|service|tests|tools"
DOCUMENTS = sorted(
    name
    for pattern in ("*.md", "docs/*.md", "clients/**/README.md", "deploy/**/README.md")
    for path in ROOT.glob(pattern)
    if (name := str(path.relative_to(ROOT))) not in DATED and "node_modules" not in name
)
# `service/api/cors.py`: `Cors.lines`, and further names after a comma or "and".
_OF_FILE = re.compile(r"`([\w/]+\.py)`:\s+(`[\w.]+`(?:(?:,| and)\s+`[\w.]+`)*)")


def text_of(document: str) -> str:
    return (ROOT / document).read_text("utf-8")


def definitions(path: Path) -> set[str]:
    return set(_names_in(ast.parse(path.read_text("utf-8")).body, ""))


def _names_in(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _names_in(node.body, f"{node.name}.")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_named_file_exists(document: str) -> None:
    """A path of the repository in a document is that of a file or a folder."""
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text_of(document))
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_named_function_is_in_its_file(document: str) -> None:
    """A class or function beside the path of a module is defined there."""
    for file, names in _OF_FILE.findall(text_of(document)):
        assert set(re.findall(r"`([\w.]+)`", names)) <= definitions(ROOT / file), file


def test_the_path_of_a_request_names_its_functions() -> None:
    """docs/architecture.md names the functions that a request passes."""
    assert len(_OF_FILE.findall(text_of("docs/architecture.md"))) >= 30
