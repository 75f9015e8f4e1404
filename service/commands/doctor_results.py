"""The results of the doctor's checks, and their report."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.text import Text

from service.commands.terminal import MIN_WIDTH
from service.quantities import quantity


class Status(Enum):
    """The status of a check.

    The value has the sign before the line, its color, and an ASCII word in its place.
    """

    GOOD = ("✓", "green", "ok")
    WARNING = ("!", "yellow", "WARNING")
    PROBLEM = ("✗", "red", "PROBLEM")
    UNKNOWN = ("?", "yellow", "unknown")


@dataclass(frozen=True)
class CheckResult:
    """The result of one check: what was found, and the advice for a problem."""

    status: Status
    finding: str
    advice: str = ""


def good(finding: str) -> CheckResult:
    """Return a result that needs no action."""
    return CheckResult(Status.GOOD, finding)


def warning(finding: str, advice: str) -> CheckResult:
    """Return a result that becomes a problem without action.

    It does not change the exit status.
    """
    return CheckResult(Status.WARNING, finding, advice)


def problem(finding: str, advice: str) -> CheckResult:
    """Return a result that needs action now."""
    return CheckResult(Status.PROBLEM, finding, advice)


def unknown(finding: str, advice: str = "") -> CheckResult:
    """Return the result of a check that was not possible.

    It does not change the exit status.
    """
    return CheckResult(Status.UNKNOWN, finding, advice)


class Report:
    """Prints results as they arrive, and counts problems and missing results."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.problems = 0
        self._unknown = 0

    def part(self, title: str, results: Iterable[CheckResult]) -> None:
        """Print results below a heading."""
        self._console.print(Text(title, style="bold"))
        for result in results:
            sign = (self._sign_of(result.status), result.status.value[1])
            self._print(Text.assemble("  ", sign, " "), result.finding)
            if result.advice:
                self._print(Text("      "), result.advice)
            self.problems += result.status is Status.PROBLEM
            self._unknown += result.status is Status.UNKNOWN

    def _sign_of(self, status: Status) -> str:
        sign, _, word = status.value
        return sign if self._console.encoding.lower().startswith("utf") else word

    def _print(self, start: Text, words: str) -> None:
        """Print words after `start`.

        Lines break between words only, so that URLs can be copied.
        """
        width = max(self._console.width, MIN_WIDTH) - len(start)
        lines = textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            before = Text(" " * len(start)) if number else start
            self._console.print(Text.assemble(before, line), soft_wrap=True)

    def conclude(self) -> None:
        """Print the number of problems, and of the checks that were not possible."""
        summary = f"{self.problems or 'No'} problem{'s' if self.problems != 1 else ''} found"
        if self._unknown:
            checks, lines = quantity(self._unknown, "check"), "line" if self._unknown == 1 else "lines"
            summary += f". {checks} had no result, see the {lines} with {self._sign_of(Status.UNKNOWN)}"
        style = "red" if self.problems else "yellow" if self._unknown else "green"
        self._console.print(Text(summary, style=style))
