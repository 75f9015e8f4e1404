"""The dashboard as an operator sees it, and functions that create sessions."""

import json
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.api_keys import hash_key
from tests.support.processes import KEY, PATH, Process

OPERATOR_KEY = "demo-operator-key"
PATIENCE_MS = 30_000  # the dashboard polls every few seconds, and 15 s after an error

Open = Callable[..., "Dashboard"]


def expect(locator: Any) -> Any:
    """Return assertions on an element or a page, with a deadline of `PATIENCE_MS`."""
    from playwright.sync_api import expect as expect_of

    expect_of.set_options(timeout=PATIENCE_MS)
    return expect_of(locator)


@dataclass
class Dashboard:
    """An open dashboard.

    `violations` are breaches of the content security policy, requests to other hosts,
    and script errors. `api_requests` are the paths of its requests to the API.
    """

    page: Any
    url: str
    violations: list[str]
    api_requests: list[str]

    def sign_in(self, key: str = OPERATOR_KEY) -> "Dashboard":
        """Type a key and press Enter."""
        field = self.page.get_by_label("Operator key")
        field.fill(key)
        field.press("Enter")
        return self

    def figure(self, name: str) -> Any:
        """Return the element of one of the large figures."""
        return self.page.locator(f"#total-{name}")

    def shows(self, **figures: str) -> None:
        """Expect these values of the large figures."""
        for name, value in figures.items():
            expect(self.figure(name)).to_have_text(value)

    @property
    def notice(self) -> Any:
        """The notice about a problem with the figures."""
        return self.page.get_by_role("status")

    def has_notice(self, words: str) -> None:
        """Expect words in the notice. An empty string expects no notice."""
        (expect(self.notice).to_contain_text if words else expect(self.notice).to_have_text)(words)

    def is_gray(self) -> None:
        """Expect figures in gray, as they are when they are not current."""
        expect(self.page.locator("#chart")).to_have_css("filter", "grayscale(1)")

    def is_colored(self) -> None:
        """Expect figures in color, as they are when they are current."""
        expect(self.page.locator("#chart")).to_have_css("filter", "none")

    def rows(self, table: str) -> list[list[str]]:
        """Return the cells of a table's body, by the id of its section."""
        script = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        cells: list[list[str]] = self.page.locator(f"#{table} tbody tr").evaluate_all(script)
        return cells

    def numbers(self) -> list[list[str]]:
        """Return the rows of the table below the chart, and open it first."""
        if not self.page.locator("#numbers").get_attribute("open"):
            self.page.locator("#numbers").evaluate("details => { details.open = true; }")
        expect(self.page.locator("#numbers tbody tr").first).to_be_visible()
        return self.rows("numbers")


def watch(dashboard: Dashboard) -> None:
    """Record the API requests and the violations of a dashboard."""
    page = dashboard.page

    def record_request(request: Any) -> None:
        if "/analytics/" in request.url:
            dashboard.api_requests.append(request.url.partition("/analytics/")[2])
        if not request.url.startswith(dashboard.url + "/"):
            dashboard.violations.append(f"request to another host: {request.url}")

    def record_message(message: Any) -> None:
        if message.text.startswith("violation"):
            dashboard.violations.append(message.text)

    page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " event => console.log('violation', event.violatedDirective, event.blockedURI, event.sample))"
    )
    page.on("request", record_request)
    page.on("console", record_message)
    page.on("pageerror", lambda error: dashboard.violations.append(f"error: {error}"))


def create(process: Process, user_id: str | None = None, key: str = KEY) -> str:
    """Create a session and return its id."""
    body = json.dumps({"user_id": user_id}).encode()
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(process.url + PATH, body, headers, method="POST")  # noqa: S310 - our own URL
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        session_id: str = json.loads(response.read())["session_id"]
        return session_id


def keys_of(sources: Iterable[str]) -> str:
    """Return a `JAY_API_KEYS` with the operator's key and one key for each source.

    The key of a source is the name of the source.
    """
    entries: list[dict[str, object]] = [
        {"name": "operator", "sha256": hash_key(OPERATOR_KEY), "scopes": ["analytics"]},
        {"name": "player", "sha256": hash_key(KEY), "scopes": ["track"]},
    ]
    for number, source in enumerate(sources):
        entries.append(
            {"name": f"source-{number}", "sha256": hash_key(source), "scopes": ["track"], "source": source}
        )
    return json.dumps(entries)
