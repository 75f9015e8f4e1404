"""The dashboard's memory forecast and warnings, with forged answers about Redis."""

from typing import Any

import pytest

from tests.browser.dashboard import Open, expect
from tests.support.processes import Launch, Process

pytestmark = pytest.mark.browser

HOUR = 3600
WARNING = {"problem": "maxmemory-policy allkeys-lru may evict sessions", "advice": "set maxmemory-policy noeviction"}


@pytest.fixture
def process(launch: Launch) -> Process:
    """Run a service."""
    return launch()


@pytest.mark.parametrize("width", [360, 1600])
def test_a_near_forecast_is_at_the_top(open_dashboard: Open, process: Process, width: int) -> None:
    """A notice, a red value and a warning appear until Redis is fine again."""
    dashboard = open_dashboard(process, viewport={"width": width, "height": 800})
    page = dashboard.page

    def forge(route: Any) -> None:
        answer = route.fetch()
        fields = {"memory_full_seconds": 5 * HOUR, "may_evict": True, "warnings": [WARNING]}
        route.fulfill(response=answer, json={**answer.json(), **fields})

    page.route("**/analytics/store?*", forge)
    dashboard.sign_in().has_notice("Redis runs out of memory in 5 hours")
    expect(dashboard.notice).to_contain_class("warning")
    forecast = page.locator("#store-forecast")
    expect(forecast).to_have_text("in 5 hours")
    expect(forecast).to_contain_class("bad")
    expect(page.locator("#store-warnings p")).to_have_text(
        ["maxmemory-policy allkeys-lru may evict sessions.", "Set maxmemory-policy noeviction."]
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.unroute_all(behavior="wait")
    dashboard.has_notice("")
    expect(forecast).to_have_text("no forecast")
    expect(page.locator("#store-warnings li")).to_have_count(0)
