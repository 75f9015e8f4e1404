"""The Python blocks of the pages run. tests/clients runs those that are tests."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_aiohttp import AiohttpClient

from service.config.settings import DEVELOPMENT_USER_SECRET
from service.digests import SessionRefs
from tests.documents.blocks import ROOT, Block, blocks_in
from tests.documents.conftest import Terminal, for_process
from tests.support.processes import Launch, eventually
from tests.support.servers import free_port

# make correlate-test follows this page, with packages of its own.
BLOCKS = [block for block in blocks_in("python") if block.page != "docs/correlate.md"]
SERVERS = [block for block in BLOCKS if "web.run_app(" in block.text]
APPLICATIONS = [block for block in BLOCKS if "def make_app(url" in block.text]
TESTS = [block for block in BLOCKS if "def test_" in block.text]
PROGRAMS = [block for block in BLOCKS if block not in SERVERS + APPLICATIONS + TESTS]
OPTIONS = ("-W", "error")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python/src"), "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(program: str, log: Path) -> Iterator[None]:
    """Run a server whose output goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *OPTIONS, "-c", program], env=ENVIRONMENT, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_runs(launch: Launch, block: Block) -> None:
    """A block that is a whole program ends without an error or a warning."""
    command = [sys.executable, *OPTIONS, "-c", for_process(block.text, launch())]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", APPLICATIONS, ids=str)
async def test_an_application_answers(
    launch: Launch, block: Block, tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    """An application of a page knows a visitor with a session, and refuses others."""
    file = tmp_path / "application.py"
    file.write_text(block.text, "utf-8")
    process = launch()
    visitor = await aiohttp_client(runpy.run_path(str(file))["make_app"](process.url, "demo-operator-key"))
    session_id = process.create()
    async with visitor.get("/movies", headers={"X-Jay-Tracking": session_id}) as response:
        assert await response.json() == {"ref": SessionRefs(DEVELOPMENT_USER_SECRET)(session_id)}
    async with visitor.get("/movies") as response:
        assert response.status == 401


@pytest.mark.parametrize("block", SERVERS, ids=str)
def test_a_back_end_logs_the_ref(terminal: Terminal, block: Block, tmp_path: Path) -> None:
    """The commands of the page reach its back end, which logs the session's ref."""
    [port], log = re.findall(r"port=(\d+)", block.text), tmp_path / "log"
    free = str(free_port())
    program = for_process(block.text, terminal.process).replace(f"port={port}", f"port={free}")
    show_id = Block(block.page, 0, "sh", 'printf "\\n%s" "$ID"')
    commands = [replace(one, text=one.text.replace(f":{port}/", f":{free}/")) for one in blocks_in("sh", block.page)]
    with running(program, log):
        eventually(lambda: "Running on" in log.read_text("utf-8"), "the back end listens")
        answer, session_id = terminal.paste([*commands, show_id]).splitlines()
    assert answer == '{"has_session": true}'
    ref = SessionRefs(DEVELOPMENT_USER_SECRET)(session_id)
    assert f"INFO session={ref} movies" in log.read_text("utf-8")


def test_every_test_in_a_page_is_run() -> None:
    """Only this page has tests, which tests/clients/test_distribution.py runs."""
    assert {block.page for block in TESTS} == {"clients/python/README.md"}
