"""Fixtures of the browser tests: one Chromium for all of them, a fresh profile for each."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.dashboard import Dashboard, Open, watch
from tests.processes import Process

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    assert executable, "chromium is needed: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def profile(chromium: Any) -> Iterator[Any]:
    """A fresh profile."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def open_dashboard(chromium: Any) -> Iterator[Open]:
    """Open dashboards; keywords are options of the profile. None may break its policy or ask another host."""
    opened: list[Dashboard] = []

    def start(process: Process, fragment: str = "", **options: Any) -> Dashboard:
        dashboard = Dashboard(chromium.new_context(**options).new_page(), process.url, [], [])
        opened.append(dashboard)
        watch(dashboard)
        dashboard.page.goto(f"{process.url}/dashboard{fragment}")
        return dashboard

    yield start
    for dashboard in opened:
        dashboard.page.context.close()
        assert dashboard.complaints == []
