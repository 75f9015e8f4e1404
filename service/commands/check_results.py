"""Findings of the doctor, and how they are printed."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.text import Text

_MIN_WIDTH = 40  # below it lines are left to the terminal to wrap


class Status(Enum):
    """How something is; the value is what stands before the line, with its colour and an ASCII stand-in."""

    GOOD = ("✓", "green", "ok")
    WARNING = ("!", "yellow", "WARNING")
    PROBLEM = ("✗", "red", "PROBLEM")
    UNKNOWN = ("?", "yellow", "unknown")


@dataclass(frozen=True)
class CheckResult:
    """One thing looked at: how it is, and for a problem what to do about it."""

    status: Status
    what: str
    advice: str = ""


def good(what: str) -> CheckResult:
    """Return a result that asks for nothing."""
    return CheckResult(Status.GOOD, what)


def warning(what: str, advice: str) -> CheckResult:
    """Return a result that becomes a problem when nobody acts on it. It is no reason for an exit status."""
    return CheckResult(Status.WARNING, what, advice)


def problem(what: str, advice: str) -> CheckResult:
    """Return a result that somebody has to act on."""
    return CheckResult(Status.PROBLEM, what, advice)


def unknown(what: str, advice: str = "") -> CheckResult:
    """Return what could not be looked at; no reason for an exit status."""
    return CheckResult(Status.UNKNOWN, what, advice)


class Report:
    """Prints results as they come and remembers whether one is a problem."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.problems = 0

    def part(self, title: str, results: Iterable[CheckResult]) -> None:
        """Print a headed list."""
        self._console.print(Text(title, style="bold"))
        for result in results:
            sign, colour, word = result.status.value
            shown = sign if self._console.encoding.lower().startswith("utf") else word
            self._print(Text.assemble("  ", (shown, colour), " "), result.what)
            if result.advice:
                self._print(Text("      "), result.advice)
            self.problems += result.status is Status.PROBLEM

    def _print(self, start: Text, words: str) -> None:
        """Print words behind `start`, wrapped between words only: a URL or a setting's name stays whole."""
        width = max(self._console.width, _MIN_WIDTH) - len(start)
        lines = textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            before = Text(" " * len(start)) if number else start
            self._console.print(Text.assemble(before, line), soft_wrap=True)

    def conclude(self) -> None:
        """Print the sum."""
        summary = f"{self.problems} problem{'s' if self.problems != 1 else ''} found"
        text = Text(summary, style="red") if self.problems else Text("No problem found", style="green")
        self._console.print(text)
