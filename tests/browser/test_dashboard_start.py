"""The start of the dashboard, without storage and with errors that it reports."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OPTIONS
from tests.browser.dashboard import OPERATOR_KEY, Dashboard, Open, create, expect, watch
from tests.support.processes import Launch, Process

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parent.parent.parent / "service" / "api" / "static"
MODULES = sorted(file.name for file in (STATIC / "dashboard").glob("*.js") if file.name != "start.js")
UPLOT = "/static/vendor/uplot/uPlot.iife.min.js"
RELOAD = "This browser blocks storage, so you have to sign in again after a reload."
BLOCKED_STORAGE = {
    "it throws at every access": (
        "Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('no', 'SecurityError'); }});"
    ),
    "there is none": "Object.defineProperty(window, 'sessionStorage', {value: null});",
    "it has no room": "Storage.prototype.setItem = () => { throw new DOMException('no', 'QuotaExceededError'); };",
}
WIDTHS = [360, 1600]


@pytest.fixture
def process(launch: Launch) -> Process:
    """Run a service with one session."""
    started = launch()
    create(started, "user-123-xyz")
    return started


@pytest.fixture
def page(chromium: Any, process: Process, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a blank page, 1600 pixels wide unless the test sets another width."""
    width = getattr(request, "param", WIDTHS[-1])
    context = chromium.new_context(viewport={"width": width, "height": 800}, base_url=process.url)
    yield context.new_page()
    context.close()


@pytest.fixture
def page_of(chromium: Any, process: Process, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page in a Chromium with content settings.

    Keywords are the settings. The value 2 blocks.
    """
    contexts: list[Any] = []

    def start(**settings: int) -> Any:
        preferences = tmp_path / f"profile-{len(contexts)}" / "Default" / "Preferences"
        preferences.parent.mkdir(parents=True)
        preferences.write_text(json.dumps({"profile": {"default_content_setting_values": settings}}))
        context = chromium.browser_type.launch_persistent_context(
            preferences.parent.parent, executable_path=shutil.which("chromium"), args=OPTIONS, base_url=process.url
        )
        contexts.append(context)
        return context.pages[0]

    yield start
    for context in contexts:
        context.close()


def expect_failure_notice(page: Any, words: str) -> None:
    """Expect a notice with these words inside the window, and no form."""
    notice = page.locator("#failure")
    expect(notice).to_be_visible()
    expect(notice).to_contain_text(words)
    expect(notice).to_contain_text("Reload the page")
    expect(page.get_by_label("Operator key")).to_be_hidden()
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("script", BLOCKED_STORAGE.values(), ids=list(BLOCKED_STORAGE))
@pytest.mark.parametrize("page", WIDTHS, indirect=True)
def test_with_blocked_storage_the_key_is_kept_until_a_reload(page: Any, process: Process, script: str) -> None:
    """With blocked storage the key is kept until a reload, with a notice."""
    page.add_init_script(script)
    dashboard = Dashboard(page, process.url, [], [])
    watch(dashboard)
    page.goto("/dashboard")
    expect(page.locator("#key-hint")).to_contain_text(RELOAD)
    dashboard.sign_in().shows(active="1", created="1")
    dashboard.has_notice(RELOAD)
    create(process)
    dashboard.shows(created="2")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Operator key")).to_be_focused()
    dashboard.has_notice("")
    dashboard.sign_in().shows(created="2")
    page.reload()
    expect(page.get_by_label("Operator key")).to_be_focused()
    assert dashboard.violations == []


def test_it_works_in_a_profile_that_blocks_cookies(page_of: Callable[..., Any], process: Process) -> None:
    """The dashboard works in a Chromium whose user blocks cookies."""
    page = page_of(cookies=2)
    dashboard = Dashboard(page, process.url, [], [])
    watch(dashboard)
    page.goto("/dashboard")
    assert page.evaluate("(() => { try { return Boolean(sessionStorage); } catch { return false; } })()") is False
    dashboard.sign_in().shows(active="1")
    dashboard.has_notice(RELOAD)
    assert dashboard.violations == []


def test_a_profile_that_blocks_javascript_gets_a_notice(page_of: Callable[..., Any]) -> None:
    """Without JavaScript the page says that it needs JavaScript."""
    page = page_of(javascript=2)
    page.goto("/dashboard")
    expect(page.locator("noscript p")).to_be_visible()
    assert page.locator("noscript p").text_content() == "The dashboard needs JavaScript."


def test_a_module_that_does_not_load_is_reported(page: Any) -> None:
    """Every module that does not load is reported, and a reload starts the page."""
    for name in MODULES:
        page.route(f"**/static/dashboard/{name}", lambda route: route.fulfill(status=404, body=""))
        page.goto("/dashboard")
        expect_failure_notice(page, "could not load")
        page.unroute_all(behavior="wait")
    page.reload()
    expect(page.get_by_label("Operator key")).to_be_visible()
    expect(page.locator("#failure")).to_be_hidden()


def answer_with(script: str) -> Callable[[Any], None]:
    """Return a route handler that answers with a script."""
    return lambda route: route.fulfill(content_type="text/javascript; charset=utf-8", body=script)


@pytest.mark.parametrize("name", ["dashboard.js", "format.js", "key_store.js"])
def test_a_module_that_fails_is_reported(page: Any, name: str) -> None:
    """Exceptions, syntax errors and missing exports of a module are reported."""
    source = (STATIC / "dashboard" / name).read_text("utf-8")
    for body, words in (
        (f"throw new Error('broken here');\n{source}", "broken here"),
        (f"{source}; const = 1;", f"/static/dashboard/{name}"),
        ("<h1>Bad gateway</h1>", f"/static/dashboard/{name}"),
        ("", "does not run JavaScript modules" if name == "dashboard.js" else "does not provide an export"),
    ):
        page.route(f"**/static/dashboard/{name}", answer_with(body))
        page.goto("/dashboard")
        expect_failure_notice(page, words)
        page.unroute_all(behavior="wait")


def test_a_missing_browser_feature_is_named(page: Any) -> None:
    """The name of a feature that the browser lacks is reported."""
    for script in (
        "delete AbortSignal.any",
        "delete AbortSignal.timeout",
        "delete Object.hasOwn",
        "delete window.ResizeObserver",
        "window.matchMedia = undefined",
        "delete Intl.NumberFormat",
    ):
        old = page.context.new_page()
        old.add_init_script(script)
        old.goto("/dashboard")
        missing = re.findall(r"\w+", script.partition("=")[0])[-1]
        expect_failure_notice(old, missing)
        old.close()


def test_a_browser_without_modules_gets_a_notice(page: Any) -> None:
    """A browser without modules gets a notice from a script in old syntax."""
    page.route(
        "**/dashboard",
        lambda route: route.fulfill(
            response=(answer := route.fetch()), body=answer.text().replace('type="module"', 'type="unknown"')
        ),
    )
    page.goto("/dashboard")
    expect_failure_notice(page, "does not run JavaScript modules")
    script = re.sub(r"/\*.*?\*/", "", (STATIC / "dashboard" / "start.js").read_text("utf-8"), flags=re.DOTALL)
    assert not re.search(r"=>|`|\?\.|\b(const|let|class|import|export|async) ", script)


@pytest.mark.parametrize("page", WIDTHS, indirect=True)
def test_without_the_chart_library_the_notice_names_it(page: Any) -> None:
    """A chart library that does not load is named in the notice."""
    page.route(f"**{UPLOT}", lambda route: route.abort())
    page.goto("/dashboard")
    expect_failure_notice(page, UPLOT)


@pytest.mark.parametrize("page", WIDTHS, indirect=True)
def test_without_any_script_the_page_says_so(page: Any) -> None:
    """A page whose scripts are blocked or never arrive says so within seconds."""
    page.route("**/static/**/*.js", lambda route: route.fulfill(status=404, body=""))
    page.goto("/dashboard")
    expect_failure_notice(page, "the browser cannot load its files from /static/")
    page.unroute_all(behavior="wait")
    page.route(
        "**/dashboard",
        lambda route: route.fulfill(
            response=(answer := route.fetch()),
            headers={**answer.headers, "content-security-policy": "script-src 'none'"},
        ),
    )
    page.goto("/dashboard")
    expect_failure_notice(page, "the browser cannot load its files from /static/")
    page.unroute_all(behavior="wait")
    page.route("**/static/dashboard/dashboard.js", lambda _: None)
    page.goto("/dashboard", wait_until="commit")
    expect_failure_notice(page, "It is still loading")


def test_an_error_after_the_start_is_reported(open_dashboard: Open, process: Process) -> None:
    """Later errors of the dashboard are reported, and others are not."""
    dashboard = open_dashboard(process).sign_in()
    page = dashboard.page
    dashboard.shows(active="1")
    with page.expect_event("pageerror"):
        page.evaluate("setTimeout(() => { throw new Error('of another script'); })")
    expect(page.locator("#failure")).to_be_hidden()
    own = "{message: 'broken later', filename: location.origin + '/static/x.js'}"
    page.evaluate(f"dispatchEvent(new ErrorEvent('error', {own}))")
    notice = page.locator("#failure")
    expect(notice).to_contain_text("The dashboard reported an error")
    expect(notice).to_contain_text("broken later")
    dashboard.shows(active="1")
    dashboard.violations[:] = [one for one in dashboard.violations if "of another script" not in one]


def test_a_start_without_errors_shows_no_notice(page: Any) -> None:
    """A page that starts normally never shows the message of a failed start."""
    page.add_init_script(
        """window.seen = 0;
        requestAnimationFrame(function look() {
            if (document.querySelector('#failure')?.checkVisibility({visibilityProperty: true})) window.seen += 1;
            requestAnimationFrame(look);
        });"""
    )
    page.goto("/dashboard")
    expect(page.get_by_label("Operator key")).to_be_focused()
    assert page.evaluate("window.seen") == 0


def test_the_environment_is_shown(open_dashboard: Open, process: Process) -> None:
    """The page shows whether the figures are those of production."""
    dashboard = open_dashboard(process).sign_in(OPERATOR_KEY)
    expect(dashboard.page.locator("#store-environment")).to_have_text("development")
