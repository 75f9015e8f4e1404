"""The look of the dashboard: widths, color schemes, accessibility, size and speed."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.dashboard import Dashboard, Open, create, expect, keys_of
from tests.support.processes import Launch, Process

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
MAX_PAGE_BYTES = 150_000
MAX_FIRST_FIGURES_MS = 1000
SCHEMES = ["light", "dark"]
SOURCES = [f"player-{number}.with-a-rather-long-name/of-a-team:{number}" for number in range(50)]
CONTRAST = """([foreground, background]) => {
    const luminance = hex => {
        const linear = start => {
            const part = parseInt(hex.slice(start, start + 2), 16) / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        };
        return 0.2126 * linear(1) + 0.7152 * linear(3) + 0.0722 * linear(5);
    };
    const style = getComputedStyle(document.documentElement);
    const [one, other] = [foreground, background].map(name => luminance(style.getPropertyValue(name).trim()));
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""


@pytest.fixture
def process(launch: Launch) -> Process:
    """Run a service without sessions."""
    return launch()


@pytest.fixture
def large(launch: Launch) -> Process:
    """Run a service with 50 sources and a user id without spaces."""
    process = launch(JAY_API_KEYS=keys_of(SOURCES))
    for number, source in enumerate(SOURCES):
        create(process, "u" * 128 if number % 2 else f"user-{number}", key=source)
    create(process, key=SOURCES[7])
    return process


def accessibility_violations(page: Any) -> list[tuple[str, list[str]]]:
    """Return the violations that axe-core rates serious or critical."""
    page.evaluate(f"() => {{ {AXE.read_text('utf-8')} }}")
    found = page.evaluate("axe.run().then(results => results.violations)")
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_is_accessible(open_dashboard: Open, large: Process, scheme: str) -> None:
    """Every state of the page has no serious accessibility violation."""
    dashboard = open_dashboard(large, "#7d", color_scheme=scheme)
    page = dashboard.page
    expect(page.get_by_label("Operator key")).to_be_focused()
    assert accessibility_violations(page) == []
    dashboard.sign_in("wrong-key")
    expect(page.get_by_role("alert")).to_contain_text("does not accept")
    assert accessibility_violations(page) == []
    dashboard.sign_in().shows(created="51")
    dashboard.numbers()
    page.get_by_role("button", name="Active now").focus()
    expect(page.get_by_role("tooltip")).to_be_visible()
    assert accessibility_violations(page) == []
    page.route("**/analytics/*", lambda route: route.fulfill(status=503, json={}))
    dashboard.is_gray()
    assert accessibility_violations(page) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_colors_have_enough_contrast(open_dashboard: Open, process: Process, scheme: str) -> None:
    """Series have a contrast of at least 3, and words of at least 4.5."""
    page = open_dashboard(process, color_scheme=scheme).page
    for name in [*map(str, range(1, 9)), "other"]:
        assert page.evaluate(CONTRAST, [f"--series-{name}", "--surface"]) >= 3, name
    assert page.evaluate(CONTRAST, ["--control", "--surface"]) >= 3
    for name in ("text", "muted", "accent", "bad"):
        for background in ("surface", "page", "warning-surface", "information-surface"):
            if name == "text" or background in {"surface", "page"}:
                assert page.evaluate(CONTRAST, [f"--{name}", f"--{background}"]) >= 4.5, (name, background)
    assert page.evaluate(CONTRAST, ["--on-accent", "--accent"]) >= 4.5


def test_dark_mode_reaches_the_chart(open_dashboard: Open, large: Process) -> None:
    """A change of the color scheme redraws page and chart without a reload."""
    dashboard = open_dashboard(large, color_scheme="light").sign_in()
    page = dashboard.page
    dashboard.shows(created="51")

    def color_of(name: str) -> str:
        value: str = page.evaluate(
            "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()", name
        )
        return value

    def is_drawn_in(color: str) -> bool:
        script = """hex => {
            const canvas = document.querySelector('#chart canvas');
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const wanted = [1, 3, 5].map(start => parseInt(hex.slice(start, start + 2), 16));
            for (let at = 0; at < data.length; at += 4) {
                if (data[at + 3] === 255 && wanted.every((part, index) => data[at + index] === part)) return true;
            }
            return false;
        }"""
        return bool(page.evaluate(script, color))

    light = color_of("--series-1")
    expect(page.locator("#chart canvas")).to_be_visible()
    assert is_drawn_in(light)
    page.emulate_media(color_scheme="dark")
    dark = color_of("--series-1")
    expect(page.locator("body")).to_have_css("background-color", "rgb(15, 17, 21)")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert light != dark
    assert is_drawn_in(dark)
    assert not is_drawn_in(light)


@pytest.mark.parametrize("width", [360, 760, 1200, 1600])
def test_it_fits_any_width(open_dashboard: Open, large: Process, width: int) -> None:
    """No width needs horizontal scrolling, however long the names are."""
    zone = "America/Argentina/Buenos_Aires"
    dashboard = open_dashboard(large, "#7d&local", viewport={"width": width, "height": 800}, timezone_id=zone)
    page = dashboard.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dashboard.sign_in().shows(created="51")
    dashboard.numbers()
    page.locator("#chart").press("End")
    expect(page.locator("#chart-tip")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """width => [...document.querySelectorAll('main *')]
        .filter(element => !element.closest('.scroll, #chart') && element.getBoundingClientRect().right > width)
        .map(element => element.outerHTML.slice(0, 80))"""
    assert page.evaluate(beyond, width) == []


def test_fifty_sources_are_listed_and_eight_drawn(open_dashboard: Open, large: Process) -> None:
    """The table lists 50 sources, and the chart draws 8 and the sum of the others."""
    dashboard = open_dashboard(large).sign_in()
    page = dashboard.page
    dashboard.shows(active="51", created="51")
    expect(page.locator("#legend li")).to_have_count(9)
    expect(page.locator("#legend li").last).to_have_text("42 other sources")
    rows = dashboard.rows("sources")
    assert len(rows) == 50
    assert rows[0][:4] == [SOURCES[7], "3.9%", "2", "2"]
    assert [int(number) for number in dashboard.numbers()[0][1:]] == [51, 2, *[1] * 7, 42]
    assert dashboard.rows("users")[0] == ["u" * 128, "25", "exact"]


def test_an_empty_service_looks_right(open_dashboard: Open, process: Process) -> None:
    """An empty service shows zeros and says that there is no session."""
    dashboard = open_dashboard(process).sign_in()
    page = dashboard.page
    dashboard.shows(active="0", created="0", ended="0", unique_users="0")
    expect(page.get_by_text("No sessions were created in this range.")).to_be_visible()
    assert [row[0] for row in dashboard.rows("sources") + dashboard.rows("users")] == [
        "No sources yet",
        "No users yet",
    ]
    expect(page.locator("#note-active")).to_be_empty()
    expect(page.locator("#users-others")).to_have_text("none")
    create(process)
    expect(page.get_by_text("No sessions were created in this range.")).to_be_hidden()
    assert dashboard.rows("sources")[0][0] == "jay.api.playout.1.0.0"


def test_large_numbers_are_readable(open_dashboard: Open, process: Process) -> None:
    """Thousands are separated, and approximate numbers and bounds are marked."""
    page = open_dashboard(process).page

    def enlarge(route: Any) -> None:
        answer = route.fetch()
        content = answer.json()
        content["totals"] = {"active": 1234567, "created": 12345678, "ended": 1000, "unique_users": 54321}
        route.fulfill(response=answer, json=content)

    def bound(route: Any) -> None:
        answer = route.fetch()
        users = [{"user_id": "user-1", "created": {"at_least": 1200, "at_most": 1234}}]
        route.fulfill(response=answer, json={**answer.json(), "users": users, "others_at_most": 1100})

    page.route("**/analytics/sessions?*", enlarge)
    page.route("**/analytics/users?*", bound)
    dashboard = Dashboard(page, "", [], []).sign_in()
    dashboard.shows(active="1,234,567", created="12,345,678", ended="1,000", unique_users="≈ 54,321")
    assert dashboard.rows("users") == [["user-1", "1,200", "up to 34 more"]]
    expect(page.locator("#users-others")).to_have_text("at most 1,100 each")


def test_the_page_is_small_and_fast(open_dashboard: Open, large: Process) -> None:
    """The page loads at most 150 kB and shows figures within a second."""
    dashboard = open_dashboard(large)
    page = dashboard.page
    page.add_init_script(
        """new MutationObserver(() => {
            if (/[0-9]/.test(document.getElementById('total-created')?.textContent)) {
                requestAnimationFrame(() => { window.shownAt ??= performance.now(); });
            }
        }).observe(document, {subtree: true, childList: true, characterData: true});"""
    )
    dashboard.sign_in().shows(created="51")
    network = page.context.new_cdp_session(page)
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))  # noqa: PLW0108 - a builtin cannot be a handler
    times = []
    for _ in range(3):
        network.send("Network.clearBrowserCache")
        responses.clear()
        page.reload(wait_until="networkidle")
        dashboard.shows(created="51")
        times.append(page.evaluate("window.shownAt"))
    files = {response.url: response for response in responses if "/analytics/" not in response.url}
    assert {response.status for response in files.values()} == {200}
    assert any(re.search("uPlot.*js$", url) for url in files)
    sizes = {url: len(response.body()) for url, response in files.items()}
    assert sum(sizes.values()) <= MAX_PAGE_BYTES, sizes
    assert min(times) <= MAX_FIRST_FIGURES_MS, times
