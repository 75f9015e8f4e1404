"""The dashboard during outages.

It gives the reason, keeps the last figures in gray, and recovers by itself.
"""

import itertools
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from service.api_keys import hash_key
from tests.browser.dashboard import Dashboard, Open, create, expect, keys_of
from tests.support.processes import KEY, Launch, Process
from tests.support.servers import RedisServer, binaries

pytestmark = pytest.mark.browser

STEP_MS = 400


@pytest.fixture
def process(launch: Launch) -> Process:
    """Run a service with one session.

    The dashboard waits 10 s for an answer, longer than the service waits for Redis.
    """
    started = launch(JAY_REDIS__TIMEOUT_SECONDS="1")
    create(started, "user-123-xyz")
    return started


@pytest.fixture
def dashboard(open_dashboard: Open, process: Process) -> Dashboard:
    """Open the dashboard and sign in."""
    opened = open_dashboard(process).sign_in()
    opened.shows(active="1")
    return opened


def set_hidden(page: Any, *, hidden: bool) -> None:
    """Hide or show the tab, as the page sees it."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        hidden,
    )


@pytest.mark.parametrize(
    ("memory", "size", "consequence"),
    [
        (0, "no limit is set", "the system kills Redis"),
        (100_000_000, "of 100 MB", "rejects new sessions"),
    ],
)
def test_a_missing_memory_limit_is_marked(
    open_dashboard: Open, launch: Launch, tmp_path: Path, memory: int, size: str, consequence: str
) -> None:
    """A Redis without a memory limit is marked in red, and no limit is made up."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder, "--maxmemory", str(memory)) as server:
        page = open_dashboard(launch(JAY_REDIS__URL=server.url)).sign_in().page
        is_bad = re.compile(r"(^|\s)bad(\s|$)")
        for name, words in (("memory", size), ("full", consequence)):
            shown = page.locator(f"#store-{name}")
            expect(shown).to_contain_text(words)
            if memory:
                expect(shown).not_to_have_class(is_bad)
            else:
                expect(shown).to_have_class(is_bad)
        expect(page.locator("#store-forecast")).to_have_text("no forecast")
        warnings = page.locator("#store-warnings li")
        expect(warnings).to_have_count(1 if memory else 2)
        expect(warnings.first).to_contain_text("No append-only file")
        expect(warnings.first).to_contain_text("Set appendonly yes.")


def test_figures_stay_while_redis_hangs(dashboard: Dashboard, process: Process) -> None:
    """While Redis hangs, the old figures stay with a notice, and then they update."""
    page, valkey = dashboard.page, process.valkey_pid
    os.kill(valkey, signal.SIGSTOP)
    try:
        dashboard.has_notice("The service cannot reach Redis.")
        expect(dashboard.notice).to_contain_text("UTC")
        dashboard.is_gray()
        expect(page.locator("#store-state")).to_have_text("not responding")
        dashboard.shows(active="1")
        expect(page.get_by_text("user-123-xyz")).to_be_visible()
    finally:
        os.kill(valkey, signal.SIGCONT)
    expect(dashboard.notice).to_have_text("")
    dashboard.is_colored()
    expect(page.locator("#store-state")).to_have_text("responding")


def test_sign_in_works_while_redis_hangs(open_dashboard: Open, process: Process) -> None:
    """An operator can sign in while Redis hangs and sees figures once it answers."""
    valkey = process.valkey_pid
    os.kill(valkey, signal.SIGSTOP)
    try:
        dashboard = open_dashboard(process).sign_in()
        dashboard.has_notice("The service cannot reach Redis.")
        dashboard.shows(active="\N{EN DASH}")
    finally:
        os.kill(valkey, signal.SIGCONT)
    expect(dashboard.figure("active")).to_have_text("1")
    dashboard.has_notice("")


def test_figures_stay_without_a_network(dashboard: Dashboard) -> None:
    """The last figures stay without a network and update as soon as it is back."""
    dashboard.page.context.set_offline(True)
    dashboard.has_notice("The service does not respond. The figures below are from")
    dashboard.is_gray()
    dashboard.shows(active="1")
    dashboard.page.context.set_offline(False)
    dashboard.has_notice("")
    dashboard.is_colored()


def test_failed_requests_back_off(dashboard: Dashboard) -> None:
    """Failed requests are repeated after 2, 4, 8 and then every 15 s."""
    page = dashboard.page
    page.clock.install()
    page.add_init_script(
        """const ask = window.fetch;
        window.moments = [];
        window.fetch = (url, ...more) => {
            if (url.includes('/store?')) window.moments.push(Date.now());
            return ask(url, ...more);
        };"""
    )
    page.reload()
    dashboard.shows(active="1")
    page.route("**/analytics/*", lambda route: route.abort())
    while len(moments := page.evaluate("window.moments")) < 7:
        page.clock.run_for(STEP_MS)
    dashboard.has_notice("The service does not respond")
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    for pause, expected in zip(pauses[1:], (2000, 4000, 8000, 15_000, 15_000), strict=True):
        assert expected <= pause < expected + 4 * STEP_MS
    page.unroute_all(behavior="wait")
    page.clock.run_for(16_000)
    dashboard.has_notice("")


def test_a_proxy_may_answer_with_a_page(dashboard: Dashboard) -> None:
    """An invalid answer of a proxy is reported with its status, and no markup runs."""
    page = dashboard.page
    page.route("**/analytics/*", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    dashboard.has_notice("The service returned an error (status 502).")
    dashboard.is_gray()
    page.unroute_all(behavior="wait")
    page.route("**/analytics/*", lambda route: route.fulfill(status=200, json={"as_of": "<b>never</b>"}))
    dashboard.has_notice("The service returned an invalid answer.")
    page.unroute_all(behavior="wait")
    expect(dashboard.notice).to_have_text("")
    dashboard.shows(active="1")


def test_a_revoked_key_is_reported(open_dashboard: Open, launch: Launch, tmp_path: Path) -> None:
    """After its key is revoked, an operator can sign in with another one."""
    keys = tmp_path / "keys.json"
    keys.write_text(keys_of([]))
    process = launch(JAY_API_KEYS_FILE=str(keys))
    create(process)
    dashboard = open_dashboard(process).sign_in()
    dashboard.shows(active="1")
    keys.write_text(keys_of([]).replace(hash_key("demo-operator-key"), hash_key("new-operator-key")))
    process.popen.send_signal(signal.SIGHUP)
    alert = dashboard.page.get_by_role("alert")
    expect(alert).to_contain_text("no longer accepts this key")
    expect(alert).to_contain_text("The figures below are from")
    dashboard.is_gray()
    dashboard.shows(active="1")
    assert dashboard.page.evaluate("sessionStorage.length") == 0
    dashboard.sign_in("new-operator-key")
    expect(dashboard.page.get_by_label("Operator key")).to_be_hidden()
    dashboard.is_colored()
    create(process, key=KEY)
    dashboard.shows(active="2")


def test_a_hidden_tab_sends_no_requests(dashboard: Dashboard, process: Process) -> None:
    """A hidden tab sends no requests and updates as soon as it is visible."""
    page = dashboard.page
    page.clock.install()
    page.reload()
    dashboard.shows(active="1")
    before = len(dashboard.api_requests)
    with page.expect_request("**/analytics/store?*"):
        page.clock.run_for(4000)
    assert len(dashboard.api_requests) >= before + 3
    set_hidden(page, hidden=True)
    create(process)
    before = len(dashboard.api_requests)
    page.clock.run_for(600_000)
    assert len(dashboard.api_requests) == before
    set_hidden(page, hidden=False)
    dashboard.shows(active="2")
    assert len(dashboard.api_requests) >= before + 3
