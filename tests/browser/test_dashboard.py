"""The dashboard in a real Chromium: sign-in, figures, ranges and definitions."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.browser.dashboard import OPERATOR_KEY, Dashboard, Open, create, expect, keys_of
from tests.support.processes import KEY, Launch, Process

pytestmark = pytest.mark.browser


@pytest.fixture
def process(launch: Launch) -> Process:
    """Run a service."""
    return launch()


@pytest.fixture
def dashboard(open_dashboard: Open, process: Process) -> Dashboard:
    """Open the dashboard."""
    return open_dashboard(process)


def test_an_operator_stays_signed_in_after_a_reload(dashboard: Dashboard) -> None:
    """The key is only in this tab's session storage and survives a reload."""
    page = dashboard.page
    expect(page.get_by_label("Operator key")).to_be_focused()
    dashboard.sign_in().shows(active="0", created="0", ended="0", unique_users="0")
    expect(page.get_by_label("Operator key")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert OPERATOR_KEY in page.evaluate("Object.values(sessionStorage)")
    assert page.evaluate("[localStorage.length, document.cookie, location.search]") == [0, "", ""]
    page.reload()
    dashboard.shows(active="0")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("wrong-key", "does not accept this key"),
        ("schlüssel 🔑", "does not accept this key"),
        (KEY, "This key may not read counts"),
        ("", "Enter a key"),
    ],
)
def test_a_rejected_key_is_explained(dashboard: Dashboard, key: str, words: str) -> None:
    """A rejected key is explained, is not stored, and can be corrected."""
    page = dashboard.page
    dashboard.sign_in(key)
    field = page.get_by_label("Operator key")
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    assert "key-error" in field.get_attribute("aria-describedby")
    assert page.evaluate("sessionStorage.length") == 0
    expect(page.get_by_text("Active now")).to_be_hidden()
    dashboard.sign_in().shows(active="0")


def test_signing_out_leaves_nothing_behind(dashboard: Dashboard, process: Process) -> None:
    """Signing out removes the key, all figures and all user ids from the page."""
    create(process, "user-123-xyz")
    page = dashboard.sign_in().page
    expect(page.get_by_text("user-123-xyz")).to_be_visible()
    dashboard.numbers()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Operator key")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0
    assert "user-123-xyz" not in page.content()
    assert "jay.api.playout" not in page.content()
    expect(page.get_by_text("Active now")).to_be_hidden()


def test_figures_are_updated_in_place(dashboard: Dashboard, process: Process) -> None:
    """New figures appear within seconds and keep chart, cursor and selection."""
    first = create(process)
    page = dashboard.sign_in().page
    dashboard.shows(active="1", created="1", ended="0")
    canvas = page.locator("#chart canvas").element_handle()
    page.locator("#chart").press("End")
    tip = page.locator("#chart-tip")
    expect(tip).to_contain_text("All sources1")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#sources tbody th bdi'))")
    create(process, "user-123-xyz")
    assert process.request("DELETE", token=first).status == 204
    dashboard.shows(active="1", created="2", ended="1", unique_users="≈ 1")
    expect(tip).to_contain_text("All sources2")
    assert page.locator("#chart canvas").element_handle().evaluate("(now, before) => now === before", canvas)
    assert page.evaluate("getSelection().toString()") == "jay.api.playout.1.0.0"
    assert dashboard.rows("sources") == [["jay.api.playout.1.0.0", "100.0%", "1", "2", "1", "≈ 1"]]
    assert dashboard.rows("users") == [["user-123-xyz", "1", "exact"]]
    expect(page.locator("#as-of")).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d UTC$"))
    expect(page.locator("#store")).to_contain_text("Valkey")
    expect(page.locator("#store-state")).to_have_text("responding")
    dashboard.has_notice("")


def test_a_range_is_chosen_with_the_keyboard(dashboard: Dashboard) -> None:
    """The keyboard selects a range, and the address keeps it."""
    page = dashboard.sign_in().page
    dashboard.shows(active="0")
    today = datetime.now(UTC)
    assert len(dashboard.numbers()) in {24, 25}
    page.get_by_role("radio", name="24 h").focus()
    for name, count in (("7d", {168, 169}), ("30d", {30}), ("90d", {90})):
        page.keyboard.press("ArrowRight")
        expect(page).to_have_url(f"{dashboard.url}/dashboard#{name}")
        expect(page.locator("#note-created")).to_have_text(f"last {name[:-1]} days")
        assert len(dashboard.numbers()) in count
    oldest = today - timedelta(days=89)
    assert dashboard.numbers()[-1][0] == f"{oldest.day} {oldest:%b}{'t' * (oldest.month == 9)} {oldest.year}"
    page.reload()
    expect(page.get_by_role("radio", name="90 d")).to_be_checked()
    expect(page.locator("#note-created")).to_have_text("last 90 days")


def test_days_are_those_of_the_browser_if_chosen(open_dashboard: Open, process: Process) -> None:
    """The time zone of the browser is a choice, and the address keeps it."""
    create(process)
    dashboard = open_dashboard(process, "#30d", timezone_id="Asia/Tokyo").sign_in()
    page = dashboard.page
    dashboard.shows(created="1")
    expect(page.get_by_role("radio", name="UTC")).to_be_checked()
    page.get_by_role("radio", name="Asia/Tokyo").check()
    expect(page).to_have_url(f"{dashboard.url}/dashboard#30d&local")
    expect(page.locator("#as-of")).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d Asia/Tokyo$"))
    expect(page.locator("#span")).to_contain_text("Asia/Tokyo days")
    rows = dashboard.numbers()
    assert len(rows) == 30
    today = datetime.now(ZoneInfo("Asia/Tokyo"))
    assert rows[0][0].startswith(f"{today.day} {today:%b}")
    assert page.locator("#numbers th[scope=col]").first.inner_text() == "Time (Asia/Tokyo)"
    assert any("tz=Asia%2FTokyo" in request for request in dashboard.api_requests)
    page.reload()
    expect(page.get_by_role("radio", name="Asia/Tokyo")).to_be_checked()
    assert dashboard.violations == []


@pytest.mark.parametrize("zone", ["Etc/UTC", "Asia/Kolkata"])
def test_a_zone_that_cannot_be_counted_is_no_choice(open_dashboard: Open, process: Process, zone: str) -> None:
    """There is no choice in UTC, and none in a zone without whole hours."""
    page = open_dashboard(process, timezone_id=zone).sign_in().page
    expect(page.locator("#total-active")).to_have_text("0")
    expect(page.locator("#zones")).to_be_hidden()


def test_the_chart_shows_active_sessions_over_time(open_dashboard: Open, launch: Launch) -> None:
    """The chart shows the active sessions at each hour and now, and there is a peak."""
    process = launch(JAY_API_KEYS=keys_of(["web", "tv"]))
    for source in ("web", "web", "tv"):
        create(process, key=source)
    dashboard = open_dashboard(process).sign_in()
    page = dashboard.page
    dashboard.shows(active="3", expired="0")
    expect(page.locator("#note-active")).to_contain_text("peak 3, ")
    page.get_by_role("radio", name="Active").check()
    expect(page).to_have_url(f"{dashboard.url}/dashboard#24h&active")
    page.locator("#chart").press("End")
    expect(page.locator("#chart-tip")).to_contain_text("UTC, now")
    expect(page.locator("#chart-tip li")).to_have_text(["All sources3", "tv1", "web2"])
    rows = dashboard.numbers()
    assert rows[0][1:] == ["3", "2", "1"]
    assert {tuple(row[1:]) for row in rows[1:]} == {("0", "0", "0")}
    expect(page.locator("#numbers-caption")).to_contain_text("Sessions active")
    page.get_by_role("radio", name="Created").check()
    expect(page.locator("#numbers-caption")).to_contain_text("Sessions created")
    expect(page).to_have_url(f"{dashboard.url}/dashboard#24h")


def test_a_range_longer_than_the_retention_is_shortened(open_dashboard: Open, launch: Launch) -> None:
    """A range longer than the retention is shortened, with a notice."""
    process = launch(JAY_ANALYTICS__RETENTION_DAYS="7")
    create(process)
    dashboard = open_dashboard(process, "#90d").sign_in()
    dashboard.has_notice("because the service keeps no older counts")
    dashboard.shows(created="1")
    assert len(dashboard.numbers()) == 8
    dashboard.page.get_by_role("radio", name="24 h").check()
    dashboard.has_notice("")
    expect(dashboard.page.locator("#note-created")).to_have_text("last 24 hours")


def test_the_chart_gives_the_value_of_each_source(open_dashboard: Open, launch: Launch) -> None:
    """Pointer, keyboard and table give the value of each source."""
    process = launch(JAY_API_KEYS=keys_of(["web", "tv"]))
    for source in ("web", "web", "web", "tv"):
        create(process, key=source)
    dashboard = open_dashboard(process, "#30d").sign_in()
    page = dashboard.page
    dashboard.shows(created="4")
    expect(page.locator("#legend li")).to_have_text(["web", "tv"])
    expected = ["All sources4", "tv1", "web3"]
    box = page.locator("#chart").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] / 2)
    expect(page.locator("#chart-tip li")).to_have_text(expected)
    page.mouse.move(0, 0)
    expect(page.locator("#chart-tip")).to_be_hidden()
    page.locator("#chart").press("ArrowLeft")
    expect(page.locator("#chart-tip li")).to_have_text(expected)
    page.locator("#chart").press("Escape")
    expect(page.locator("#chart-tip")).to_be_hidden()
    assert dashboard.numbers()[0][1:] == ["4", "3", "1"]
    assert page.locator("#numbers th[scope=col]").all_inner_texts() == ["Time (UTC)", "All", "web", "tv"]


@pytest.mark.parametrize("width", [360, 1600])
def test_every_figure_has_a_definition(open_dashboard: Open, process: Process, width: int) -> None:
    """Hover and focus show each figure's definition inside the window."""
    page = open_dashboard(process, viewport={"width": width, "height": 740}).sign_in().page
    expect(page.locator("#total-active")).to_have_text("0")
    for term in page.locator(".term").all():
        tip = page.locator(f"#{term.get_attribute('aria-describedby')}")
        term.scroll_into_view_if_needed()
        term.focus()
        expect(tip).to_be_visible()
        expect(tip).to_contain_text("Error:")
        box = tip.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 740
        page.keyboard.press("Escape")
        expect(tip).to_be_hidden()
    term = page.get_by_role("button", name="Active now")
    term.hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_contain_text("neither ended nor expired")
    tip.hover()
    expect(tip).to_be_visible()
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
