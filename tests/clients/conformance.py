"""The cases for clients of all languages, and a server that answers from a case."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jay_tracking_client.candidates import candidates
from jay_tracking_client.messages import Answer, Request
from jay_tracking_client.testing.fake_service import FakeTrackingService

CONTENT = json.loads((Path(__file__).parents[2] / "clients/conformance/cases.json").read_text("utf-8"))
CASES = CONTENT["cases"]
BROKEN = "connection-broken"
INVALID_URLS = (
    "",
    "h",
    "ftp://h",
    "http://",
    "http://[::1",
    "http://h:0",
    "http://h:99999",
    "http://h:80:90",
    "http://h/a b",
    "http://h/é",
    "http://h/\n",
    "http://h/?",
    "http://h/#secret",
    "http://h?key=secret",
    "http://:secret@h",
    "http://user:secret@h",
    "http://user:secret/word@h",
)


def cases_of(kind: str) -> list[dict[str, Any]]:
    """Return the cases for one kind of client."""
    return [case for case in CASES if case["kind"] == kind]


def answer_of(name: str) -> Answer:
    """Return a response of the file."""
    response = CONTENT["responses"][name]
    body = response.get("body", "")
    headers = {name.lower(): value for name, value in response.get("headers", {}).items()}
    return Answer(response["status"], headers, (body if isinstance(body, str) else json.dumps(body)).encode())


class Script(FakeTrackingService):
    """Answers with the responses of a call, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.responses: list[str] = []

    def expect(self, exchanges: list[list[str]]) -> None:
        """Answer the requests of the next call."""
        self.responses = [response for _, response in exchanges]
        self.requests.clear()

    def answer(self, request: Request) -> Answer | None:
        self.requests.append(request)
        return self._answer(request, self.responses.pop(0))

    def _answer(self, _request: Request, name: str) -> Answer | None:
        return None if name == BROKEN else answer_of(name)


def presented_ids(request: Request) -> list[str]:
    """Return the session ids of a request."""
    lines = [[request.headers[name]] if name in request.headers else [] for name in ("cookie", "x-jay-tracking")]
    return candidates(lines[0], [], lines[1])


def check_request(actual: Request, expected: Mapping[str, Any], keys: list[str]) -> None:
    """Compare a request with a case, and add its idempotency key to `keys`."""
    assert (actual.method, actual.path) == (expected["method"], expected["path"])
    assert (json.loads(actual.body) if actual.body else None) == expected.get("body")
    assert presented_ids(actual) == ([expected["presents"]] if "presents" in expected else [])
    for name, value in expected.get("headers", {}).items():
        sent = actual.headers[name.lower()]
        if value == "$key":
            assert re.fullmatch("[!-+\\--~]{16,64}", sent)
            keys.append(sent)
        else:
            assert sent == value
