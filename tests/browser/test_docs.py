"""The API reference in a real Chromium."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.openapi import Reference
from tests.support.processes import KEY, Launch, Process

pytestmark = pytest.mark.browser


@pytest.fixture
def process(launch: Launch) -> Process:
    """Run a service."""
    return launch()


class Visit:
    """The opened reference, with its requests and its console messages."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.messages: list[str] = []
        self.requested_urls: list[str] = []
        page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.requested_urls.append(request.url))
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock")


@pytest.fixture(params=["light", "dark"])
def visit(chromium: Any, process: Process, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open the reference in a new profile, once in each color scheme."""
    profile = chromium.new_context(color_scheme=request.param)
    yield Visit(profile.new_page(), process.url)
    profile.close()


def test_every_operation_is_shown(visit: Visit, process: Process) -> None:
    """The page shows each operation once and loads nothing from another host."""
    operations = Reference().operations()
    repeated = [(method, path) for method, path in operations if method == "HEAD" or path.startswith("/playouts/")]
    assert visit.page.title() == "API reference · Tracking sessions"
    assert visit.page.locator(".opblock").count() == len(operations)
    assert visit.page.locator(".opblock:visible").count() == len(operations) - len(repeated)
    assert visit.page.locator(".errors-wrapper").count() == 0
    scheme = visit.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
    background = visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (background == "rgb(28, 32, 34)") == (scheme == "dark")
    assert visit.messages == []
    assert {url for url in visit.requested_urls if not url.startswith((f"{process.url}/", "data:"))} == set()


def test_requests_can_be_tried_out(visit: Visit, process: Process) -> None:
    """The button `Try it out` gets 401 without a key and 201 with the demo key."""
    page = visit.page
    operation = page.locator("#operations-Sessions-createSession")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    status = operation.locator(".live-responses-table .response-col_status").last
    assert status.inner_text().startswith("401")
    page.locator(".auth-wrapper .authorize").first.click()
    page.get_by_label("apiKey").or_(page.locator(".auth-container input")).first.fill(KEY)
    page.locator(".auth-container").first.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").last.click()
    with page.expect_response(lambda response: response.request.method == "POST") as answer:
        operation.get_by_role("button", name="Execute").click()
    assert answer.value.status == 201
    session_id = answer.value.json()["session_id"]
    operation.locator(".live-responses-table").get_by_text(session_id).first.wait_for()
    assert process.status_of(session_id) == 200
    # Chromium logs every status from 400 on. The 401 above is expected.
    assert [message for message in visit.messages if "401 (Unauthorized)" not in message] == []
