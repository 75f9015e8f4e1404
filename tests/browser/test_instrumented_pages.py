"""Pages whose libraries add headers to every request, in a real Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import PATH, TOKEN, Launch, Process
from tests.support.servers import RedisServer, binaries

pytestmark = pytest.mark.browser

# Headers that Sentry, OpenTelemetry, jQuery and code that bypasses caches add.
INSTRUMENTED = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=1",
    "baggage": "sentry-environment=production",
    "sentry-trace": "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
    "x-requested-with": "XMLHttpRequest",
    "cache-control": "no-cache",
    "pragma": "no-cache",
    "x-client-version": "7",  # configured
}

FETCH = """async ([url, options]) => {
    const response = await fetch(url, {credentials: 'include', ...options}).catch(error => error.name);
    if (typeof response === 'string') return response;
    const headers = Object.fromEntries(response.headers);
    return [response.status, headers, await response.text()];
}"""

XHR = """([url, method, name, value]) => new Promise(done => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.setRequestHeader('X-API-Key', 'your_api_key_here');
    request.setRequestHeader(name, value);
    request.setRequestHeader(name, value);
    request.onloadend = () => done(request.status);
    request.send();
})"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that the test can stop."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as server:
        yield server


@pytest.fixture
def process(launch: Launch, origin: str, store: RedisServer) -> Process:
    """Run a service that allows the origin of the page and one more request header."""
    return launch(
        JAY_CORS__ORIGINS=json.dumps([origin]),
        JAY_CORS__REQUEST_HEADERS='["x-client-version"]',
        JAY_REDIS__URL=store.url,
    )


def url_of(process: Process, path: str = PATH) -> str:
    return process.url.replace("127.0.0.1", "localhost") + path


def test_an_instrumented_page_reads_every_answer(page: Any, process: Process, store: RedisServer) -> None:
    """A page with added headers can read status, headers and body of every answer."""
    key = {**INSTRUMENTED, "X-API-Key": "your_api_key_here"}
    as_json = {**key, "Content-Type": "application/json"}

    def fetch(method: str, headers: dict[str, str], body: str | None = None, path: str = PATH) -> list[Any]:
        options = {"method": method, "headers": headers, **({} if body is None else {"body": body})}
        answer: list[Any] = page.evaluate(FETCH, [url_of(process, path), options])
        assert isinstance(answer, list), (method, path, answer)
        assert answer[1]["x-request-id"]
        assert answer[1]["x-jay-api-version"] == "2025-05-19"
        return answer

    created = fetch("POST", as_json, '{"user_id": "u"}')
    assert (created[0], created[1][TOKEN.lower()]) == (201, json.loads(created[2])["session_id"])
    assert fetch("GET", key)[::2] == [200, created[2]]
    assert fetch("HEAD", key)[::2] == [200, ""]
    for status, slug, answer in (
        (401, "unauthorized", fetch("GET", INSTRUMENTED)),
        (404, "not-found", fetch("GET", key, path=f"{PATH}/")),
        (405, "method-not-allowed", fetch("PUT", as_json, "{}")),
        (413, "body-too-large", fetch("POST", as_json, "x" * 5000)),
        (422, "invalid-request", fetch("POST", as_json, '{"user-id": "u"}')),
    ):
        assert (answer[0], json.loads(answer[2])["type"]) == (status, f"urn:jay:problem:{slug}")
        if status == 405:
            assert answer[1]["allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
        if status == 401:
            assert answer[1]["www-authenticate"]
    assert fetch("DELETE", key)[0] == 204
    assert fetch("HEAD", key)[0] == 404
    store.kill()
    down = fetch("POST", key)
    assert (down[0], down[1]["retry-after"]) == (503, "1")
    assert json.loads(down[2])["type"] == "urn:jay:problem:store-unavailable"


def test_a_header_that_is_not_allowed_fails_in_the_browser(page: Any, process: Process) -> None:
    """The browser sends no request with a header that is not allowed."""
    options = {"headers": {"X-API-Key": "your_api_key_here", "x-unknown": "1"}}
    before = len(process.log)
    assert page.evaluate(FETCH, [url_of(process), options]) == "TypeError"
    assert not [line for line in process.log[before:] if '"method":"GET"' in line and PATH in line]


@pytest.mark.parametrize("name", ["X-Jay-Tracking", TOKEN])
def test_a_page_that_sets_the_session_header_twice_ends_its_session(
    page: Any,
    process: Process,
    name: str,
) -> None:
    """A session header that `XMLHttpRequest` joins with a comma ends its session."""
    session_id = process.create()
    assert page.evaluate(XHR, [url_of(process), "GET", name, session_id]) == 200
    assert page.evaluate(XHR, [url_of(process), "DELETE", name, session_id]) == 204
    assert process.status_of(session_id) == 404
