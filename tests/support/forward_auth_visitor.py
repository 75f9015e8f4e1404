"""A visitor of an application behind a proxy that uses forward-auth."""

import http.client
import json
import re
from typing import Any
from urllib.parse import urlsplit

from service.api_keys import hash_key
from service.config.settings import DEVELOPMENT_USER_SECRET
from service.digests import SessionRefs
from tests.support.processes import KEY, PATH, TOKEN, Process, eventually
from tests.support.recipes import PROXY_KEY

Headers = list[tuple[str, str]]
OURS = (
    "X-Jay-Session",
    "X-Jay-Session-Ref",
    "X-Jay-Session-Expires",
    "X-Jay-Source",
    "X-Jay-Session-Id",
    "X-Jay-User-Id",
)
FORGED = [(name, "forged") for name in OURS]
KEYS = [
    {"name": "demo", "sha256": hash_key(KEY), "scopes": ["track"]},
    {"name": "proxy", "sha256": hash_key(PROXY_KEY), "scopes": ["validate"], "reveal": ["session_id", "user_id"]},
]
ref_of = SessionRefs(DEVELOPMENT_USER_SECRET)


def seen(
    front: Process, headers: Headers, method: str = "GET", path: str = "/movies?a=b", body: bytes = b""
) -> dict[str, list[str]]:
    """Send a request, and return the headers that the application gets."""
    connection = http.client.HTTPConnection(urlsplit(front.url).netloc, timeout=10)
    try:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        content = response.read()
        assert response.status == 200, (response.status, content)
    finally:
        connection.close()
    found: dict[str, list[str]] = {}
    for name, value in json.loads(content):
        found.setdefault(name.lower(), []).append(value)
    return found


def answered(front: Process, *request: Any, **more: Any) -> dict[str, list[str]]:
    """Return the headers of `seen` when the service has answered the proxy in time.

    The shipped configurations wait 40 ms, and a loaded machine may take longer.
    """

    def ask() -> dict[str, list[str]] | None:
        found = seen(front, *request, **more)
        return None if found["x-jay-session"] == ["unknown"] else found

    found: dict[str, list[str]] = eventually(ask, "an answer in time")
    return found


def ours(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the headers of forward-auth, in any spelling."""
    return {
        name: values
        for name, values in found.items()
        if (re.sub(r"[^a-z0-9]", "-", name).startswith("x-jay-") or name == "baggage") and any(values)
    }


def create(jay: Process, user_id: str | None = None) -> str:
    """Create a session and return its id."""
    connection = http.client.HTTPConnection(urlsplit(jay.url).netloc, timeout=10)
    body = None if user_id is None else json.dumps({"user_id": user_id})
    connection.request("POST", PATH, body, {"X-API-Key": KEY, "Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return str(response.headers[TOKEN])
