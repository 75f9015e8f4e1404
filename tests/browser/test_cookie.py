"""The session cookie in a real Chromium, used by the spec's JavaScript.

The page has another origin than the service.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import PATH, TOKEN, Launch, Process
from tests.system.spec import javascript

pytestmark = pytest.mark.browser


@pytest.fixture
def process(launch: Launch, origin: str) -> Process:
    """Run a service that allows the origin of the page."""
    return launch(JAY_CORS__ORIGINS=json.dumps([origin]))


def test_the_life_of_the_cookie(page: Any, process: Process, project: Path) -> None:
    """POST sets the cookie, requests carry it, and DELETE removes it."""
    url = process.url.replace("127.0.0.1", "localhost")
    page.add_script_tag(content=javascript(project, url))
    assert page.evaluate("checkTrackingSession()") is None
    created = page.evaluate("createTracking()")
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["value"]) == (TOKEN, created["session_id"])
    assert cookie["secure"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert cookie["path"] == "/"
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("checkTrackingSession()") == created
    assert page.evaluate("endTrackingSession()") is True
    assert page.context.cookies() == []
    assert page.evaluate("checkTrackingSession()") is None
    assert process.status_of(created["session_id"]) == 404
    assert page.evaluate("createTracking('user-123-xyz')")["user_id"] == "user-123-xyz"


def test_a_tv_app_uses_the_header(page: Any, process: Process, project: Path) -> None:
    """A page on another origin can send and read the session header."""
    url = process.url.replace("127.0.0.1", "localhost")
    page.add_script_tag(
        content="let stored = null; const saveSessionId = id => { stored = id; };"
        "const getStoredSessionId = () => stored; const clearSessionId = () => { stored = null; };"
        + javascript(project, url)
    )
    session_id = page.evaluate("setupTracking()")
    assert page.context.cookies() == []
    assert page.evaluate(f"fetchWithTracking('{url}{PATH}')")["session_id"] == session_id
    assert page.evaluate("deleteTrackingSession()") is True
    assert process.status_of(session_id) == 404


def test_errors_can_be_read_by_the_page(page: Any, process: Process) -> None:
    """A page on another origin can read the status and problem of every error."""
    url = process.url.replace("127.0.0.1", "localhost")

    def fetch(path: str, options: Any) -> list[object]:
        script = """async ([url, options]) => {
            const response = await fetch(url, options);
            const body = await response.json();
            return [response.status, body.type, response.headers.get('x-request-id') === body.request_id];
        }"""
        seen: list[object] = page.evaluate(script, [url + path, options])
        return seen

    key = {"X-API-Key": "your_api_key_here"}
    for path, options, status, slug in (
        (PATH, {"headers": {"X-API-Key": "wrong"}}, 401, "unauthorized"),
        (PATH, {"headers": key}, 404, "session-not-found"),
        ("/nowhere", {}, 404, "not-found"),
        (PATH, {"method": "POST", "headers": key, "body": "x" * 5000}, 413, "body-too-large"),
        (PATH, {"method": "POST", "headers": key, "body": "x"}, 415, "unsupported-media-type"),
    ):
        assert fetch(path, options) == [status, f"urn:jay:problem:{slug}", True]


def test_a_page_of_a_foreign_origin_gets_nothing(page: Any, launch: Launch) -> None:
    """A page of an origin that is not configured gets a network error and no cookie."""
    closed = launch(JAY_REDIS__DATA_DIR="closed")
    url = closed.url.replace("127.0.0.1", "localhost")
    script = "url => fetch(url, {method: 'POST', credentials: 'include'}).then(r => r.status, e => e.name)"
    assert page.evaluate(script, url + PATH) == "TypeError"
    assert page.context.cookies() == []
