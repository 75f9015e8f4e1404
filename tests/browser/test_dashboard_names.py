"""Names of sources and users on the dashboard: markup in them is shown, not run."""

from typing import Any

import pytest

from tests.browser.dashboard import Dashboard, Open, create, expect, keys_of
from tests.support.processes import Launch, Process

pytestmark = pytest.mark.browser

HOSTILE = (
    "<img src=x onerror=\"document.title='stolen'\">",
    "<script>document.title='stolen'</script>",
    "\"><svg onload=document.title='stolen'>",
    "javascript:document.title='stolen'",
    "{{constructor.constructor('return 1')()}}",
    "&lt;b&gt;bold&lt;/b&gt;",
    "\u202ereversed",
)


@pytest.fixture
def process(launch: Launch) -> Process:
    """Run a service."""
    return launch()


@pytest.fixture
def dashboard(open_dashboard: Open, process: Process) -> Dashboard:
    """Open the dashboard."""
    return open_dashboard(process)


def test_markup_in_user_ids_is_shown(dashboard: Dashboard, process: Process) -> None:
    """Markup in a user id is shown as characters."""
    for user_id in HOSTILE:
        create(process, user_id)
    dashboard.sign_in().shows(created=str(len(HOSTILE)))
    page = dashboard.page
    assert sorted(page.locator("#users tbody bdi").all_text_contents()) == sorted(HOSTILE)
    expect(page).to_have_title("Tracking sessions")
    assert page.locator("#users").locator("img, script, svg").count() == 0


def test_markup_in_sources_is_shown(dashboard: Dashboard, process: Process) -> None:
    """Markup in the sources of a forged answer is shown as characters."""
    create(process)
    page = dashboard.page

    def forge(route: Any) -> None:
        answer = route.fetch()
        content = answer.json()
        for number, source in enumerate(HOSTILE):
            content["sources"].append({"source": source, "active": 1, "created": 9, "ended": 1, "unique_users": 1})
            content["series"][-1]["sources"][source] = {"created": number + 1, "ended": 0}
        route.fulfill(response=answer, json=content)

    page.route("**/analytics/sessions?*", forge)
    dashboard.sign_in().shows(created="1")
    page.locator("#chart").press("End")
    dashboard.numbers()
    for place in ("#sources tbody bdi", "#legend bdi", "#numbers thead bdi"):
        assert set(HOSTILE) <= set(page.locator(place).all_text_contents())
    assert set(HOSTILE) <= set(page.locator("#chart-tip bdi").all_text_contents())
    expect(page).to_have_title("Tracking sessions")
    assert page.locator("main").locator("img, script, svg").count() == 0


def test_sources_may_have_names_of_javascript_properties(open_dashboard: Open, launch: Launch) -> None:
    """Sources with names such as `constructor` are counted like any other."""
    names = ["__proto__", "constructor", "toString"]
    process = launch(JAY_API_KEYS=keys_of(names))
    for name in names:
        create(process, key=name)
    dashboard = open_dashboard(process).sign_in()
    dashboard.shows(created="3")
    assert [row[0] for row in dashboard.rows("sources")] == names
    newest, *older = dashboard.numbers()
    assert newest[1:] == ["3", "1", "1", "1"]
    assert all(row[1:] == ["0"] * 4 for row in older)


def test_the_policy_blocks_injected_markup(dashboard: Dashboard) -> None:
    """The content security policy blocks injected markup, and the tests see it."""
    page = dashboard.page
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=document.title=1>')")
    with page.expect_console_message(lambda message: message.text.startswith("violation")):
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=color:red>')")
    expect(page).to_have_title("Tracking sessions")
    assert any("script-src" in violation for violation in dashboard.violations)
    assert any("style-src" in violation for violation in dashboard.violations)
    dashboard.violations.clear()
