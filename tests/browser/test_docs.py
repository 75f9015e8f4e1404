"""The API reference in a real Chromium: it renders, asks nobody else, and its requests work."""

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
    """The opened page, and all that could be wrong with it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock")


@pytest.fixture(params=["light", "dark"])
def visit(chromium: Any, process: Process, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open the page in a fresh profile, once in each colour scheme."""
    profile = chromium.new_context(color_scheme=request.param)
    yield Visit(profile.new_page(), process.url)
    profile.close()


def test_every_operation_is_shown(visit: Visit, process: Process) -> None:
    """As many as the document has, without a complaint of the browser, and nothing comes from another host."""
    assert visit.page.title() == "API reference · Tracking sessions"
    assert visit.page.locator(".opblock").count() == len(Reference().operations())
    assert visit.page.locator(".errors-wrapper").count() == 0
    scheme = visit.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
    background = visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (background == "rgb(28, 32, 34)") == (scheme == "dark")
    assert visit.complaints == []
    assert {url for url in visit.asked if not url.startswith((f"{process.url}/", "data:"))} == set()


def test_requests_can_be_tried_out(visit: Visit, process: Process) -> None:
    """With the demo key: 401 before it is given, 201 and a real session after."""
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
    # Chromium tells of every status from 400 on; the one above was meant.
    assert [complaint for complaint in visit.complaints if "401 (Unauthorized)" not in complaint] == []
