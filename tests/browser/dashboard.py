"""The dashboard as a user of it sees it, and a service with something to show."""

import json
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.api_keys import hash_key
from tests.support.processes import KEY, PATH, Process

OPERATOR_KEY = "demo-operator-key"
PATIENCE_MS = 30_000  # the dashboard asks every few seconds, and after errors 15 s later at most

Open = Callable[..., "Dashboard"]


def expect(locator: Any) -> Any:
    """Return what can be expected of an element, or of a page, within `PATIENCE_MS`."""
    from playwright.sync_api import expect as expect_of

    expect_of.set_options(timeout=PATIENCE_MS)
    return expect_of(locator)


@dataclass
class Dashboard:
    """An open dashboard. `complaints`: what no page may do; `asked`: paths of the questions it put to the API."""

    page: Any
    url: str
    complaints: list[str]
    asked: list[str]

    def sign_in(self, key: str = OPERATOR_KEY) -> "Dashboard":
        """Type a key and press Enter."""
        field = self.page.get_by_label("Operator key")
        field.fill(key)
        field.press("Enter")
        return self

    def figure(self, name: str) -> Any:
        """Return one of the four large figures."""
        return self.page.locator(f"#total-{name}")

    def shows(self, **figures: str) -> None:
        """Expect large figures."""
        for name, text in figures.items():
            expect(self.figure(name)).to_have_text(text)

    @property
    def notice(self) -> Any:
        """The line that says what is wrong."""
        return self.page.get_by_role("status")

    def says(self, words: str) -> None:
        """Expect words in the line that says what is wrong; none: an empty line."""
        (expect(self.notice).to_contain_text if words else expect(self.notice).to_have_text)(words)

    def is_grey(self) -> None:
        """Expect figures that are plainly not of now."""
        expect(self.page.locator("#chart")).to_have_css("filter", "grayscale(1)")

    def is_coloured(self) -> None:
        """Expect figures of now."""
        expect(self.page.locator("#chart")).to_have_css("filter", "none")

    def rows(self, table: str) -> list[list[str]]:
        """Return the texts of a table's body, by the id of its section."""
        script = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        texts: list[list[str]] = self.page.locator(f"#{table} tbody tr").evaluate_all(script)
        return texts

    def numbers(self) -> list[list[str]]:
        """Return the table behind the chart."""
        if not self.page.locator("#numbers").get_attribute("open"):
            self.page.locator("#numbers").evaluate("details => { details.open = true; }")
        expect(self.page.locator("#numbers tbody tr").first).to_be_visible()
        return self.rows("numbers")


def watch(dashboard: Dashboard) -> None:
    """Have the dashboard's questions noted, and everything that a page of this service may not do."""
    page = dashboard.page

    def note_request(request: Any) -> None:
        if "/analytics/" in request.url:
            dashboard.asked.append(request.url.partition("/analytics/")[2])
        if not request.url.startswith(dashboard.url + "/"):
            dashboard.complaints.append(f"asked another host: {request.url}")

    def note_message(message: Any) -> None:
        if message.text.startswith("violation"):
            dashboard.complaints.append(message.text)

    page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " event => console.log('violation', event.violatedDirective, event.blockedURI, event.sample))"
    )
    page.on("request", note_request)
    page.on("console", note_message)
    page.on("pageerror", lambda error: dashboard.complaints.append(f"error: {error}"))


def create(process: Process, user_id: str | None = None, key: str = KEY) -> str:
    """Create a session; return its id."""
    body = json.dumps({"user_id": user_id}).encode()
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(process.url + PATH, body, headers, method="POST")  # noqa: S310 - our own URL
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        session_id: str = json.loads(response.read())["session_id"]
        return session_id


def keys_of(sources: Iterable[str]) -> str:
    """Return a `JAY_API_KEYS` with the operator's key, and for each source a key that is called like it."""
    entries: list[dict[str, object]] = [
        {"name": "operator", "sha256": hash_key(OPERATOR_KEY), "scopes": ["analytics"]},
        {"name": "player", "sha256": hash_key(KEY), "scopes": ["track"]},
    ]
    for number, source in enumerate(sources):
        entries.append(
            {"name": f"source-{number}", "sha256": hash_key(source), "scopes": ["track"], "source": source}
        )
    return json.dumps(entries)
