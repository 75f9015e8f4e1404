"""docs/correlate.md with nginx and two back ends that know nothing of sessions.

CORRELATE_VISITS=1000 is the long run.
"""

import http.client
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.api_keys import hash_key
from service.config.settings import DEVELOPMENT_USER_SECRET
from service.digests import SessionRefs
from tests.support.collector import Collector, attributes, collector
from tests.support.forward_auth import access_log, proxy
from tests.support.processes import KEY, TOKEN, Launch, Process, eventually
from tests.support.recipes import PROXY_KEY
from tests.support.servers import free_port

pytestmark = pytest.mark.back_ends

VISITS = int(os.environ.get("CORRELATE_VISITS", "50"))
REQUESTS_OF_A_VISIT = 3
SPANS_OF_A_REQUEST = 3  # of the shop, of its request to the stock, and of the stock
BACK_ENDS = Path(__file__).parents[1] / "support" / "back_ends"
KEYS = [
    {"name": "demo", "sha256": hash_key(KEY), "scopes": ["track"]},
    {"name": "proxy", "sha256": hash_key(PROXY_KEY), "scopes": ["validate"]},
]
ref_of = SessionRefs(DEVELOPMENT_USER_SECRET)


def block_of_page(page: str, language: str, word: str) -> str:
    """Return the only block of a language with a word in it."""
    [found] = [block for block in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if word in block]
    return str(found)


@contextmanager
def back_end(name: str, page: str, folder: Path, traces: str, **environment: str) -> Iterator[int]:
    """Run a back end as the page says, and return its port."""
    programs, port = Path(os.environ["BACK_ENDS_VENV"]).resolve() / "bin", free_port()
    block = block_of_page(page, "sh", "opentelemetry-instrument python")
    *exports, command = block.replace("http://127.0.0.1:4318", traces).replace("shop", name).splitlines()
    started_with = dict(line.removeprefix("export ").split("=", 1) for line in exports)
    (folder / "traced.py").write_text(block_of_page(page, "python", "BaggageSpanProcessor"))
    (folder / f"{name}.py").write_text((BACK_ENDS / f"{name}.py").read_text("utf-8"))
    environment |= {
        **started_with,
        "PORT": str(port),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
    }
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: _status(port) == 200, f"{name} answers")
        yield port
    finally:
        process.terminate()
        process.wait()


def _status(port: int) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def visit(front: Process, session_id: str, path: str, headers: dict[str, str]) -> None:
    """Send the requests of a visit."""
    connection = http.client.HTTPConnection(urlsplit(front.url).netloc, timeout=10)
    for number in range(REQUESTS_OF_A_VISIT):
        token = {"Cookie": f"{TOKEN}={session_id}"} if session_id else {}
        connection.request("GET", f"{path}/{number}", headers={**token, **headers})
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"7")
    connection.close()


def create(jay: Process) -> str:
    """Create a session and return its id."""
    connection = http.client.HTTPConnection(urlsplit(jay.url).netloc, timeout=10)
    connection.request("POST", "/v1/playouts/tracking/session", headers={"X-API-Key": KEY})
    response = connection.getresponse()
    response.read()
    connection.close()
    return str(response.headers[TOKEN])


def sessions_of_spans(collected: Collector) -> dict[str, list[str | int | None]]:
    """Return the `session.id` of each span, by the path of its visit."""
    traces: dict[bytes, list[dict[str, str | int]]] = {}
    for span in collected.spans:
        traces.setdefault(span.trace_id, []).append(attributes(span))
    by_path: dict[str, list[str | int | None]] = {}
    for spans in traces.values():
        targets = (str(found.get("http.target", found.get("url.path", ""))) for found in spans)
        path = next((target for target in targets if target.startswith("/visit-")), "")
        by_path.setdefault(path.rpartition("/")[0], []).extend(found.get("session.id") for found in spans)
    return by_path


def test_every_span_and_log_line_of_a_visit_has_its_session(launch: Launch, project: Path, tmp_path: Path) -> None:
    """Each span of both back ends and each line of nginx's log has the ref."""
    page = (project / "docs" / "correlate.md").read_text("utf-8")
    jay = launch(JAY_API_KEYS=json.dumps(KEYS), JAY_REDIS__TIMEOUT_SECONDS="10")
    refs: dict[str, str | None] = {}
    with collector() as collected:
        with ExitStack() as stack:
            stock = stack.enter_context(back_end("stock", page, tmp_path, collected.url))
            url = f"http://127.0.0.1:{stock}/stock"
            shop = stack.enter_context(back_end("shop", page, tmp_path, collected.url, STOCK_URL=url))
            front = stack.enter_context(proxy("nginx", tmp_path / "nginx", jay.url, shop, is_patient=True))
            for number in range(VISITS):
                path = f"/visit-{number}"
                session_id = create(jay) if number % 10 else ""
                forged = {"baggage": f"session.id={ref_of('another')},a=1"} if number % 3 == 0 else {}
                visit(front, session_id, path, forged)
                refs[path] = ref_of(session_id) if session_id else None

            def lines_of(path: str) -> list[str]:
                return [line for line in access_log("nginx", front).splitlines() if f"{path}/" in line]

            # nginx writes a line after the visitor has the answer.
            eventually(lambda: len(lines_of(path)) == REQUESTS_OF_A_VISIT, "the last line is written")
            log = access_log("nginx", front).splitlines()
            spans_of_a_visit = REQUESTS_OF_A_VISIT * SPANS_OF_A_REQUEST

            def is_complete() -> bool:
                found = sessions_of_spans(collected)
                return all(len(found.get(path, ())) >= spans_of_a_visit for path in refs)

            eventually(is_complete, "all spans arrive", seconds=30)
        found = sessions_of_spans(collected)
    for path, ref in refs.items():
        assert found[path] == [ref] * spans_of_a_visit, path
        lines = [line for line in log if f"{path}/" in line]
        assert len(lines) == REQUESTS_OF_A_VISIT
        assert all(line.endswith(f"session={ref or ''}") for line in lines), lines
    assert {resource["service.name"] for resource in collected.resources} == {"shop", "stock"}


def test_the_page_installs_the_packages_of_the_test(project: Path) -> None:
    """The command of the page names the packages that the back ends have."""
    page = (project / "docs" / "correlate.md").read_text("utf-8")
    command = block_of_page(page, "sh", "pip install").replace("\\\n", " ")
    groups = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    names = {re.split("[>=]", requirement)[0] for requirement in groups["back-ends"]}
    assert set(command.split()[2:]) == names - {"flask", "requests"}
