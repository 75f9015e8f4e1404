"""The privacy page in a real Chromium."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Launch

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_the_page_fits_and_is_accessible(chromium: Any, launch: Launch, width: int, scheme: str) -> None:
    """The page fits, breaks no accessibility rule, and loads nothing from others."""
    url = f"https://www.example.com/{'long-path-' * 20}"
    process = launch(JAY_PRIVACY__CONTACT="privacy@example.com", JAY_PRIVACY__OBJECTION_URL=url)
    profile = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = profile.new_page()
    messages: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(f"{process.url}/privacy")
    assert page.title() == "Privacy · Tracking sessions"
    assert page.locator("h2").all_inner_texts() == [
        "Purpose",
        "On the device",
        "In the service",
        "Other services",
        "How long",
        "Choices",
    ]
    assert page.get_by_role("link", name="privacy@example.com").get_attribute("href") == "mailto:privacy@example.com"
    assert page.get_by_role("link", name=url).get_attribute("href") == url
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(f"() => {{ {AXE.read_text('utf-8')} }}")
    assert page.evaluate("axe.run().then(results => results.violations.map(({id}) => id))") == []
    assert messages == []
    assert all(one.startswith(process.url + "/") for one in requested)
    profile.close()
