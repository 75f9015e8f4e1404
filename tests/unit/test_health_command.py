"""`healthcheck`: only the answer of this service counts, not one of another server."""

import http.client
import json

import pytest

from service.commands import health
from service.commands.api_client import Answer, ApiClient
from service.errors import CommandError

URL = "http://127.0.0.1:8080"


class Service(ApiClient):
    """Gives one answer to the path that is expected."""

    def __init__(self, path: str, status: int, body: str) -> None:
        super().__init__(URL)
        self._path = path
        self._answer = Answer(status, http.client.HTTPMessage(), body.encode(), 0.0, 0.0)

    def send(self, method: str, path: str, headers: object = None) -> Answer:
        assert (method, path, headers) == ("GET", self._path, None)
        return self._answer


@pytest.mark.parametrize(("path", "status"), [("/livez", "alive"), ("/readyz", "ready")])
def test_the_answer_is_printed(path: str, status: str) -> None:
    """The command returns the body as the service sent it."""
    body = json.dumps({"status": status, "more": 1})
    assert health.check(Service(path, 200, body), is_live=path == "/livez") == body


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("draining", "it is stopping"),
        ("store-unavailable", "it cannot use Redis. Run `jay-tracking doctor`"),
        ("of-a-later-version", "of-a-later-version"),
    ],
)
def test_the_reason_is_in_the_error(status: str, reason: str) -> None:
    """A 503 with a status is a service that is not ready, with the reason in words."""
    with pytest.raises(CommandError) as raised:
        health.check(Service("/readyz", 503, json.dumps({"status": status})), is_live=False)
    assert str(raised.value) == f"{URL} is not ready: {reason}"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "{}"),
        (200, "<html>"),
        (200, '{"status": "alive"}'),
        (200, '{"status": "up"}'),
        (404, '{"status": "ready"}'),
        (404, '{"status": "not found"}'),
        (503, '{"status": 7}'),
        (503, "<html>"),
    ],
)
def test_another_server_is_not_ready(status: int, body: str) -> None:
    """The error names the whole URL, and says that another server may answer there."""
    with pytest.raises(CommandError, match=f"^{URL}/readyz answers with {status}, but not as this service does"):
        health.check(Service("/readyz", status, body), is_live=False)
