"""The measured systems, the reason why one cannot run here, and how each starts."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peers.client import HOST, ask
from bench.peers.requests import ORIGIN, WORKLOADS, Session, by_cookie
from bench.processes import KEY, PATH, ROOT, START_SECONDS, TOKEN, Running, hello, service
from tests.support.servers import free_port

FOLDER = Path(__file__).parent
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
NODE_MODULES = FOLDER / "node" / "node_modules"
# Debian's packages put the sources of Go libraries here.
GO_PATH = Path("/usr/share/gocode")
REDIGO = GO_PATH / "src" / "github.com" / "gomodule" / "redigo"
STOP_SECONDS = 10.0
BUILD_SECONDS = 300

PROJECT = "project"
COOKIE_ONLY = tuple(name for name in WORKLOADS if name != "get-header")

# Runs a system with the port of a Redis and a folder for its files.
Start = Callable[[int, Path], AbstractContextManager[Running]]


@dataclass(frozen=True)
class System:
    """A measured system. `missing` returns why it cannot run, or an empty string.

    The default of `missing` is `str`, which returns an empty string.
    """

    name: str
    title: str
    start: Start
    missing: Callable[[], str] = str
    workloads: tuple[str, ...] = tuple(WORKLOADS)
    stores_sessions: bool = True


@contextmanager
def peer(command: list[str], redis_port: int, folder: Path) -> Iterator[Running]:
    """Run a peer until the block ends. Its output goes to a file."""
    port = free_port()
    variables = {"PORT": str(port), "REDIS_PORT": str(redis_port), "API_KEY": KEY, "ORIGIN": ORIGIN}
    environment = {**os.environ, **variables, "NODE_ENV": "production", "GOMAXPROCS": "1"}
    log = folder / "log"
    with log.open("wb") as stream:
        popen = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream, text=True)
    try:
        started = time.monotonic()
        while not _answers(port):
            assert popen.poll() is None, log.read_text()
            assert time.monotonic() - started < START_SECONDS, log.read_text()
            time.sleep(0.05)
        yield Running(f"http://{HOST}:{port}{PATH}", popen.pid, time.monotonic() - started, popen)
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def _answers(port: int) -> bool:
    try:
        return ask(port, by_cookie("GET", PATH, Session(f"{TOKEN}=none", ""))).status == 404  # noqa: PLR2004
    except OSError:
        return False


def _project(redis_port: int, _: Path) -> AbstractContextManager[Running]:
    url = f"redis://{HOST}:{redis_port}/0"
    return service(JAY_REDIS__URL=url, JAY_CORS__ORIGINS=json.dumps([ORIGIN]))


def _hello(_: int, __: Path) -> AbstractContextManager[Running]:
    return hello()


def _python(module: str) -> Start:
    command = [str(PYTHON), "-m", f"bench.peers.python.{module}"]
    return lambda redis_port, folder: peer(command, redis_port, folder)


def _node(script: str) -> Start:
    command = ["node", str(FOLDER / "node" / script)]
    return lambda redis_port, folder: peer(command, redis_port, folder)


@contextmanager
def _go(redis_port: int, folder: Path) -> Iterator[Running]:
    program = folder / "peer"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOFLAGS": ""}
    build = ["go", "build", "-o", str(program), str(FOLDER / "go" / "main.go")]
    subprocess.run(build, env=environment, check=True, timeout=BUILD_SECONDS)
    with peer([str(program)], redis_port, folder) as running:
        yield running


def _python_missing() -> str:
    return "" if PYTHON.exists() else "its packages are missing: run `make bench-peers`"


def _node_missing() -> str:
    if not shutil.which("node"):
        return "Node is missing: apt-get install nodejs npm"
    return "" if NODE_MODULES.exists() else f"its packages are missing: cd {NODE_MODULES.parent} && npm ci"


def _go_missing() -> str:
    if shutil.which("go") and REDIGO.exists():
        return ""
    return "Go or redigo is missing: apt-get install golang-go golang-github-gomodule-redigo-dev"


SYSTEMS = (
    System(PROJECT, "this service", _project),
    System("go", "Go net/http + redigo", _go, _go_missing),
    System("fastify", "fastify + ioredis", _node("fastify.js"), _node_missing),
    System("naive", "aiohttp + redis-py", _python("naive"), _python_missing),
    System("aiohttp-session", "aiohttp-session", _python("library"), _python_missing, COOKIE_ONLY),
    System("express", "express-session", _node("express.js"), _node_missing, COOKIE_ONLY),
    System("fastapi", "FastAPI + redis-py", _python("fast"), _python_missing),
    System("hello", "aiohttp hello world", _hello, workloads=("get-cookie",), stores_sessions=False),
)
