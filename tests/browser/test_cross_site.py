"""The JavaScript client on a page of another site than the service.

For Chromium, `localhost` and `127.0.0.1` are two sites. The fixture `page` is a private
window, which blocks third-party cookies.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OPTIONS
from tests.support.processes import Launch, Process

pytestmark = pytest.mark.browser

START = """async ([url, options]) => {
  const client = await import(`${url}/static/jay-tracking.js`);
  const storage = options.storage && client[options.storage]();
  window.tracking = new client.Tracking({ url, key: "your_api_key_here", storage });
}"""


@pytest.fixture
def process(launch: Launch, origin: str) -> Process:
    """Run a service whose cookie may be sent from pages of other sites."""
    return launch(JAY_CORS__ORIGINS=json.dumps([origin]), JAY_COOKIE__SAME_SITE="None")


@pytest.fixture
def normal_window(chromium: Any, origin: str, tmp_path: Path) -> Iterator[Any]:
    """Open the page in a normal window, which accepts cookies of other sites."""
    settings = tmp_path / "profile" / "Default" / "Preferences"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}))
    context = chromium.browser_type.launch_persistent_context(
        tmp_path / "profile", executable_path=shutil.which("chromium"), args=OPTIONS
    )
    page = context.new_page()
    page.goto(origin)
    yield page
    context.close()


def session_of(page: Any, process: Process, **options: str) -> dict[str, Any]:
    """Reload the page and return the session that the client finds or creates."""
    page.reload()
    page.evaluate(START, [process.url, options])
    return dict(page.evaluate("tracking.session()"))


def test_a_normal_window_keeps_the_cookie_of_another_site(normal_window: Any, process: Process) -> None:
    """With `SameSite=None`, a browser that allows such cookies keeps the session."""
    assert session_of(normal_window, process)["session_id"] == session_of(normal_window, process)["session_id"]


def test_a_private_window_loses_the_cookie_of_another_site(page: Any, process: Process) -> None:
    """A browser that blocks such cookies loses the session at each reload."""
    assert session_of(page, process)["session_id"] != session_of(page, process)["session_id"]
    assert page.context.cookies() == []


def test_a_page_of_another_site_works_by_header(page: Any, process: Process) -> None:
    """With such cookies blocked, a storage keeps the session and its consent."""
    first = session_of(page, process, storage="localStorageOrMemory")
    assert session_of(page, process, storage="localStorageOrMemory")["session_id"] == first["session_id"]
    agreed = page.evaluate("tracking.consent({ userId: 'user-1', agreed: true })")
    assert session_of(page, process, storage="localStorageOrMemory")["session_id"] == agreed["session_id"]
    assert "user_id" not in page.evaluate("tracking.consent({ userId: 'user-1', agreed: false })")
    assert page.evaluate("tracking.end()") is True
    assert page.context.cookies() == []
    totals = process.totals()
    names = ("created", "ended", "consent_given", "consent_withdrawn")
    assert [totals[name] for name in names] == [1, 1, 1, 1]
