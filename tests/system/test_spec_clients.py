"""Clients copied unchanged from the spec work against the real service."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from aiohttp import ClientSession, DummyCookieJar

from tests.support.processes import KEY, PATH, TOKEN, Launch, Process
from tests.system.spec import SAME_SHAPE_CURL, SPEC_HOST, curl_commands, javascript, javascript_functions, spec_text

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture
def process(launch: Launch) -> Process:
    return launch()


def test_the_blocks_are_found(project: Path) -> None:
    """Four curl commands and seven functions are found in the spec."""
    text = spec_text(project)
    if text is None:
        pytest.skip("the spec is not beside the project")
    assert [command.split()[2] for command in curl_commands(text)] == ["POST", "POST", "GET", "DELETE"]
    assert list(javascript_functions(text)) == [
        "createTrackingSession",
        "createTracking",
        "checkTrackingSession",
        "endTrackingSession",
        "setupTracking",
        "fetchWithTracking",
        "deleteTrackingSession",
    ]


@needs_curl
def test_curl(process: Process, project: Path) -> None:
    """The curl commands create, read and end sessions."""
    guest, user, read, delete = curl_commands(spec_text(project) or SAME_SHAPE_CURL)

    def run(command: str, session_id: str = "") -> tuple[int, str, str]:
        line = command.replace(SPEC_HOST, process.url).replace("your_session_id", session_id)
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=True)
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        return int(head.split()[1]), head, body

    status, head, body = run(guest)
    assert status == 201
    assert set(json.loads(body)) == {"session_id", "start_time", "source"}
    status, head, body = run(user)
    session = json.loads(body)
    assert (status, session["user_id"]) == (201, "user-123-xyz")
    assert re.search(f"^{TOKEN}: {session['session_id']}$", head, re.MULTILINE)
    assert re.search(f"^Set-Cookie: {TOKEN}={session['session_id']}; ", head, re.MULTILINE)
    assert run(read, session["session_id"])[::2] == (200, body)
    status, head, body = run(delete, session["session_id"])
    assert (status, body) == (204, "")
    assert "Max-Age=0" in head
    assert run(read, session["session_id"])[0] == 404


# A cookie jar for node's fetch, and the three functions that the spec does not define.
NODE_PRELUDE = """
const jar = new Map();
const plainFetch = globalThis.fetch;
globalThis.fetch = async (url, options = {}) => {
  const headers = {...options.headers};
  if (options.credentials === 'include' && jar.size) headers.Cookie = [...jar].map(p => p.join('=')).join('; ');
  const response = await plainFetch(url, {...options, headers});
  if (options.credentials === 'include') for (const line of response.headers.getSetCookie()) {
    const [name, value] = line.split(';')[0].split('=');
    line.includes('Max-Age=0') ? jar.delete(name) : jar.set(name, value);
  }
  return response;
};
console.log = console.error;
let stored = null;
const saveSessionId = id => { stored = id; };
const getStoredSessionId = () => stored;
const clearSessionId = () => { stored = null; };
"""

BROWSER_FLOW = """
(async () => {
  const seen = [await checkTrackingSession()];
  seen.push(await createTracking());
  seen.push(await checkTrackingSession());
  seen.push(await endTrackingSession());
  seen.push(await checkTrackingSession());
  seen.push(await createTracking('user-123-xyz'));
  seen.push(jar.size);
  process.stdout.write(JSON.stringify(seen));
})();
"""

TV_FLOW = """
(async () => {
  const url = '%s';
  const seen = [await setupTracking('user-123-xyz'), stored];
  seen.push(await fetchWithTracking(url));
  seen.push(await deleteTrackingSession());
  seen.push(stored);
  seen.push(await setupTracking() === stored);
  seen.push(await fetchWithTracking(url));
  process.stdout.write(JSON.stringify(seen));
})();
"""


def run_node(script: str) -> list[object]:
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen: list[object] = json.loads(done.stdout)
    return seen


@needs_node
def test_browser_javascript(process: Process, project: Path) -> None:
    """The browser functions create, check and end a session by cookie."""
    seen = run_node(NODE_PRELUDE + javascript(project, process.url) + BROWSER_FLOW)
    before, created, checked, ended, after, user, cookies = seen
    assert before is None
    assert isinstance(created, dict)
    assert checked == created
    assert (ended, after, cookies) == (True, None, 1)
    assert isinstance(user, dict)
    assert user["user_id"] == "user-123-xyz"


@needs_node
def test_tv_javascript(process: Process, project: Path) -> None:
    """The TV functions create, read and end a session by header, without a cookie."""
    seen = run_node(NODE_PRELUDE + javascript(project, process.url) + TV_FLOW % (process.url + PATH))
    session_id, stored, read, deleted, cleared, is_stored, guest = seen
    assert session_id == stored
    assert isinstance(read, dict)
    assert (read["session_id"], read["user_id"]) == (session_id, "user-123-xyz")
    assert (deleted, cleared, is_stored) == (True, None, True)
    assert isinstance(guest, dict)
    assert "user_id" not in guest


async def test_kotlin(process: Process) -> None:
    """OkHttp's requests work: an empty body without type, and JSON with a charset."""
    headers = {"x-jay-api-version": "2025-05-19", "X-API-Key": KEY, "User-Agent": "okhttp/4.12.0"}
    async with ClientSession(cookie_jar=DummyCookieJar()) as client:
        url = process.url + PATH
        async with client.post(
            url, data=b"", headers={**headers, "Content-Length": "0"}, skip_auto_headers=["Content-Type"]
        ) as response:
            assert response.status == 201
            assert "user_id" not in await response.json()
        async with client.post(
            url, data=b'{"userId":"u1"}', headers={**headers, "Content-Type": "application/json; charset=utf-8"}
        ) as response:
            assert response.status == 201
            session = await response.json()
        assert session["user_id"] == "u1"
        async with client.get(url, headers={**headers, TOKEN: session["session_id"]}) as response:
            assert await response.json() == session
