"""Programs that make the calls of a case with a client of another language.

A program reads one command per line and writes one reply, both as JSON. A command has a
name in `command` and values:

- `start` makes a client: `url`, `key`, `own_origin`, `stored_id`, `time_seconds` and
  `global_privacy_control`. Its pauses do not wait, and its clock does not move. The
  function of the app in `fails`, `storage` or `on_error`, throws at each call.
- `restart` makes another client with the same storage.
- `tab` makes the later calls with the client of the tab `number`. All have one storage.
- `accepts` has the result of whether the client accepts a `url` (Kotlin only).
- `advance` moves the clock by `seconds`.
- `session`, `consent`, `end` and `fetch` are calls, with `times` of them at once.

A reply has the `results`, the `reports` of errors with `kind` and `message`, the
`pauses` in seconds and the `stored_id` after the calls.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests.clients import kotlin_compiler

FOLDER = Path(__file__).parent
LONGEST_CALL_SECONDS = 60


class Program:
    """A running program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def call(self, command: str, **values: Any) -> dict[str, Any]:
        """Send a command, and return the reply. A program that hangs is killed."""
        assert self._process.stdin
        assert self._process.stdout
        timer = Timer(LONGEST_CALL_SECONDS, self._process.kill)
        timer.start()
        self._process.stdin.write(json.dumps({"command": command, **values}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        timer.cancel()
        assert line, f"the program has ended during {command}"
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def running(command: list[str]) -> Iterator[Program]:
    """Run a program for the time of a block."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Program(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(LONGEST_CALL_SECONDS) == 0


def javascript(_folder: Path) -> list[str]:
    """Return the command of the program for the JavaScript client."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    return [node, str(FOLDER / "javascript/program.mjs")]


@dataclass(frozen=True)
class Language:
    """A language, and how to build its program in a folder.

    `requests_when_broken` is how often a request is sent when its connection breaks.
    """

    name: str
    build: Callable[[Path], list[str]]
    requests_when_broken: int = 1


JAVASCRIPT = Language("javascript", javascript)
# HttpURLConnection of the JVM sends a request again when its connection is closed
# without an answer (sun.net.www.http.HttpClient, `failedOnce`).
KOTLIN = Language("kotlin", kotlin_compiler.compiled, requests_when_broken=2)
