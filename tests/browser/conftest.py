"""Fixtures of the browser tests: one Chromium for all, a new profile for each test."""

import functools
import http.server
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.dashboard import Dashboard, Open, watch
from tests.support.http_servers import serving
from tests.support.processes import Process

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
    """Run a Chromium that all browser tests share."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    assert executable, "chromium is needed: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def profile(chromium: Any) -> Iterator[Any]:
    """Return a new browser profile."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def open_dashboard(chromium: Any) -> Iterator[Open]:
    """Return a function that opens dashboards in profiles of their own.

    Keywords are options of the profile. A dashboard that breaks its content security
    policy or sends a request to another host fails the test.
    """
    opened: list[Dashboard] = []

    def start(process: Process, fragment: str = "", **options: Any) -> Dashboard:
        dashboard = Dashboard(chromium.new_context(**options).new_page(), process.url, [], [])
        opened.append(dashboard)
        watch(dashboard)
        dashboard.page.goto(f"{process.url}/dashboard{fragment}")
        return dashboard

    yield start
    for dashboard in opened:
        # A handler may be waiting for the service's answer to a poll.
        dashboard.page.unroute_all(behavior="ignoreErrors")
        dashboard.page.context.close()
        assert dashboard.violations == []


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """Serve an empty page on another origin than the service.

    Its host is `localhost`, where Chromium accepts Secure cookies over HTTP.
    """
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><link rel=icon href=data:,><title>page</title>")
    handler = functools.partial(QuietHandler, directory=str(folder))
    with serving(handler) as port:
        yield f"http://localhost:{port}"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without logging requests."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def page(profile: Any, origin: str) -> Any:
    """Open the empty page in a new profile."""
    opened = profile.new_page()
    opened.goto(origin)
    return opened
