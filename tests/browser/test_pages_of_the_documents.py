"""The JavaScript and HTML blocks of the documents, in a real Chromium."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.documents.blocks import ROOT, Block, blocks_in
from tests.documents.conftest import for_process
from tests.support.processes import Launch, Process, eventually

pytestmark = pytest.mark.browser

API = "https://api.example.com"
# A consent tool whose visitor has agreed to purpose 8.
CONSENT_TOOL = """window.__tcfapi = (command, version, listener) => listener(
  { eventStatus: "useractioncomplete", purpose: { consents: { 8: true } } }, true);"""
# A sign that the module of a block has run to its end.
END = "globalThis.ended = true;\n"
SCRIPTS, DOCUMENTS = blocks_in("js"), blocks_in("html")


@pytest.fixture
def process(launch: Launch, origin: str) -> Process:
    """Run a service for pages of the origin, under the host name of the examples."""
    started = launch(JAY_CORS__ORIGINS=json.dumps([origin]))
    started.url = started.url.replace("127.0.0.1", "localhost")
    return started


@pytest.fixture
def to_the_api() -> list[dict[str, str]]:
    """Return the headers of each request to the API of the examples."""
    return []


@pytest.fixture
def show(page: Any, origin: str, tmp_path: Path, to_the_api: list[dict[str, str]]) -> Callable[[str], None]:
    """Return a function that opens HTML, in which nothing may fail."""
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if is_failure(message) else None)
    folder = tmp_path / "page"  # the files of the origin
    shutil.copy(ROOT / "clients" / "js" / "jay-tracking.js", folder)

    def answer(route: Any) -> None:
        if route.request.method != "OPTIONS":
            to_the_api.append(route.request.headers)
        allowed = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Headers": "x-jay-tracking"}
        route.fulfill(status=200, headers=allowed, content_type="application/json", body="[]")

    def load(html: str) -> None:
        (folder / "example.html").write_text(html, "utf-8")
        page.goto(f"{origin}/example.html")
        page.wait_for_function("globalThis.ended")
        assert failures == []

    page.add_init_script(CONSENT_TOOL)
    page.route(f"{API}/**", answer)
    return load


def is_failure(message: Any) -> bool:
    """Return whether a line of the console is an error.

    Chromium writes one for each 404, which here means that there is no session yet.
    """
    return message.type == "error" and "404 (Not Found)" not in message.text


def page_with(block: Block, process: Process) -> str:
    """Return the page of an HTML block, or one with the script of a block."""
    text = for_process(block.text, process)
    if block.language == "js":
        text = f'<!doctype html><script type="module">{text}</script>'
    return text.replace("</script>", f"{END}</script>") + "<link rel=icon href=data:,>"


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_a_script_creates_one_session(
    process: Process, show: Callable[[str], None], to_the_api: list[dict[str, str]], block: Block
) -> None:
    """A script runs to its end, and creates a session that its API gets."""
    show(page_with(block, process))
    eventually(lambda: process.totals()["created"] == 1, "the session is created")
    assert len(to_the_api) == block.text.count("tracking.fetch(")
    for headers in to_the_api:
        assert process.status_of(headers["x-jay-tracking"]) == 200


def test_the_visit_of_the_web_page_ends(process: Process, show: Callable[[str], None]) -> None:
    """The example of a whole visit gives consent, withdraws it and ends."""
    [block] = [one for one in SCRIPTS if one.page == "docs/web-page.md" and "tracking.end()" in one.text]
    show(page_with(block, process))
    counted = process.totals()
    assert [counted[name] for name in ("created", "ended", "consent_given", "consent_withdrawn")] == [1, 1, 1, 1]


def test_a_consent_tool_gives_the_consent(process: Process, show: Callable[[str], None]) -> None:
    """The example for consent tools stores the user id after the visitor has agreed."""
    [block] = [one for one in SCRIPTS if "__tcfapi" in one.text]
    show(page_with(block, process))
    eventually(lambda: process.totals()["unique_users"] == 1, "the session has a user")


@pytest.mark.parametrize(
    ("data", "is_ok", "created"),
    [
        ({"eventStatus": "cmpuishown", "purpose": {"consents": {"8": True}}}, True, 0),
        (None, False, 0),
        ({"eventStatus": "useractioncomplete", "purpose": {"consents": {"8": False}}}, True, 1),
        ({"eventStatus": "tcloaded", "purpose": {"consents": {}}}, True, 1),
    ],
    ids=["open banner", "failure", "refusal", "no answer"],
)
def test_a_consent_tool_without_consent(
    page: Any, process: Process, show: Callable[[str], None], data: object, created: int, *, is_ok: bool
) -> None:
    """An open banner creates no session. A visitor who does not agree is a guest."""
    page.add_init_script(
        f"""window.__tcfapi = async (command, version, listener) => {{
          await listener({json.dumps(data)}, {json.dumps(is_ok)});
          globalThis.answered = true;
        }};"""
    )
    [block] = [one for one in SCRIPTS if "__tcfapi" in one.text]
    show(page_with(block, process))
    page.wait_for_function("globalThis.answered")
    counted = process.totals()
    assert (counted["created"], counted["unique_users"]) == (created, 0)


@pytest.mark.parametrize("document", ["docs/web-page.md", "docs/tv.md"])
def test_a_page_keeps_its_session(page: Any, process: Process, show: Callable[[str], None], document: str) -> None:
    """The example page shows the id of its session, the same one after a reload."""
    [block] = [one for one in DOCUMENTS if one.page == document]
    show(page_with(block, process))
    session_id = page.locator("#session").text_content()
    assert process.status_of(session_id) == 200
    page.reload()
    page.wait_for_function("globalThis.ended")
    assert page.locator("#session").text_content() == session_id


def test_the_banner_page_follows_the_table(page: Any, process: Process, show: Callable[[str], None]) -> None:
    """The example page has the user id of a user who is logged in and agrees."""
    [block] = [one for one in DOCUMENTS if one.page == "docs/consent-banner.md"]
    show(page_with(block, process))
    user, agreed, owner = (page.locator(name) for name in ("#user", "#agreed", "#owner"))
    owner.get_by_text("a guest").wait_for()
    user.fill("user-1")
    agreed.check()
    owner.get_by_text("user-1").wait_for()
    agreed.uncheck()
    owner.get_by_text("a guest").wait_for()
    agreed.check()
    owner.get_by_text("user-1").wait_for()
    user.fill("")
    user.blur()
    owner.get_by_text("a guest").wait_for()
    user.fill("user-2")
    user.blur()
    owner.get_by_text("user-2").wait_for()
    page.goto(page.url)  # the fields are empty again
    page.wait_for_function("globalThis.ended")
    assert owner.text_content() == "a guest"
    counted = process.totals()
    assert [counted[name] for name in ("created", "consent_given", "consent_withdrawn")] == [1, 3, 3]


def test_every_page_in_a_document_is_opened() -> None:
    """The tests above open each HTML block."""
    assert sorted(block.page for block in DOCUMENTS) == ["docs/consent-banner.md", "docs/tv.md", "docs/web-page.md"]
