"""The security page names tests that exist, and leaves no requirement out."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.attacks.test_table import TABLES

# The numbers of requirements of levels 1 and 2 in each section.
# Source: OWASP ASVS 5.0.0, https://github.com/OWASP/ASVS
_COUNTS = (
    "1.1:2 1.2:9 1.3:11 1.4:3 1.5:2 2.1:3 2.2:3 2.3:4 2.4:1 3.2:2 3.3:4 3.4:6 3.5:5 3.7:2 4.1:3 4.2:1 4.3:2 "
    "4.4:4 7.1:3 7.2:4 7.3:2 7.4:5 7.5:2 7.6:2 8.1:2 8.2:3 8.3:1 8.4:1 11.1:2 11.2:3 11.3:3 11.4:4 11.5:1 11.6:1 "
    "12.1:3 12.2:2 12.3:4 13.1:1 13.2:5 13.3:2 13.4:5 14.1:2 14.2:4 14.3:3 15.1:3 15.2:3 15.3:7 16.1:1 "
    "16.2:5 16.3:4 16.4:3 16.5:3"
)
REQUIREMENTS = {section: int(count) for section, _, count in (pair.partition(":") for pair in _COUNTS.split())}
STATUSES = {"met", "not met", "not applicable"}

Rows = list[tuple[str, str, str, str]]


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    """The page."""
    return (project / "docs" / "security.md").read_text("utf-8")


@pytest.fixture(scope="module")
def rows(page: str) -> Rows:
    """Id, requirement, status and reason of each requirement."""
    return re.findall(r"^\| (\d+\.\d+\.\d+) \| (.+?) \| (.+?) \| (.+) \|$", page, re.MULTILINE)


def test_every_requirement_is_listed_once(rows: Rows) -> None:
    """The tables have each requirement of the chapters that apply."""
    listed = [number for number, *_ in rows]
    assert len(listed) == len(set(listed)) == sum(REQUIREMENTS.values()) == 166
    assert Counter(number.rpartition(".")[0] for number in listed) == REQUIREMENTS


def test_every_requirement_has_a_status_and_evidence(rows: Rows) -> None:
    """A requirement that is met names a test or a page, and others have a reason."""
    assert {status for *_, status, _ in rows} == STATUSES
    for number, _, status, reason in rows:
        assert status != "met" or re.search(r"`test_\w+`|\]\(|as \d|paragraph above", reason), number
        assert len(reason) > 5, number


def test_every_named_test_exists(project: Path, page: str) -> None:
    """Each test that the page names is a test of this repository."""
    code = "".join(file.read_text("utf-8") for file in (project / "tests").rglob("test_*.py"))
    missing = {name for name in re.findall(r"`(test_\w+)`", page) if f"def {name}(" not in code}
    assert not missing


def test_the_number_of_attacks_is_current(page: str) -> None:
    """The page has the number of attacks in the tables."""
    assert f"have {sum(map(len, TABLES.values()))} attacks" in page
