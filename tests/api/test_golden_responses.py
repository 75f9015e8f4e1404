"""Recorded responses to a list of requests: status, headers, fields and slugs.

Clients rely on them, so a change here is a change of the API. This records them again:
`RECORD_GOLDEN=1 .venv/bin/pytest tests/api/test_golden_responses.py`.
"""

import json
import os
import re
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import ClientResponse

from service.config.settings import CorsSettings
from tests.api.conftest import KEYS, ORIGIN, PATH, REVEALING, TOKEN, Service, Start

GOLDEN = Path(__file__).parent / "golden_responses.json"

OPERATOR: dict[str, str | None] = {"X-API-Key": "operator-key"}
PREFLIGHT: dict[str, str | None] = {"X-API-Key": None, "Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
FORWARD_AUTH = "/v1/playouts/tracking/forward-auth"
ANALYTICS = "/v1/playouts/tracking/analytics"
DEAD = "00000000-0000-4000-8000-000000000000"

# Strings that people read, or that differ each time.
_WORDS = {"title", "detail", "definitions", "remaining"}
_VARYING = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"), "<start time>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<request id>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<ref>"),
    # A session that has existed for a moment has fewer seconds left than a new one.
    (re.compile(r"\bMax-Age=86(400|3\d\d)\b"), "Max-Age=<seconds>"),
]
# Values that are measured, or that aiohttp's client writes.
_VOLATILE = {"Date", "Content-Length", "ETag", "Etag", "Last-Modified"}

Request: TypeAlias = tuple[str, str, dict[str, str | None], bytes | None]

# Method, path, headers, body. `{live}` is the id of a live session of user-1.
REQUESTS: list[Request] = [
    ("POST", PATH, {}, None),
    ("POST", PATH, {"Origin": ORIGIN}, b'{"user_id": "user-1"}'),
    ("POST", PATH, {"Origin": "https://foreign.example"}, None),
    ("POST", PATH, {"Content-Type": "application/json"}, b'{"user_id": 7}'),
    ("POST", PATH, {"Content-Type": "application/json"}, b'{"userID": "x"}'),
    ("POST", PATH, {"Content-Type": "application/json"}, b"{"),
    ("POST", PATH, {"Content-Type": "text/plain"}, b"x"),
    ("POST", PATH, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"x"),
    ("POST", PATH, {"Origin": ORIGIN}, b"x" * 5000),
    ("POST", PATH, {"X-API-Key": None}, None),
    ("POST", PATH, {"X-API-Key": "wrong", "Origin": ORIGIN}, None),
    ("POST", PATH, {"X-API-Key": "a,b"}, None),
    ("POST", PATH, {"X-API-Key": "bound-key", "Origin": "https://foreign.example"}, None),
    ("POST", PATH, OPERATOR, None),
    ("POST", PATH, {"x-jay-api-version": "1999-01-01"}, None),
    ("POST", PATH, {"X-API-Key": "tv-key", "x-jay-api-version": "2025-05-19"}, None),
    ("GET", PATH, {TOKEN: "{live}"}, None),
    ("GET", PATH, {"Cookie": f"{TOKEN}={{live}}", "Origin": ORIGIN}, None),
    ("GET", PATH, {"X-Jay-Tracking": "{live}"}, None),
    ("GET", PATH, {TOKEN: DEAD, "Origin": ORIGIN}, None),
    ("GET", PATH, {}, None),
    ("HEAD", PATH, {TOKEN: "{live}"}, None),
    ("HEAD", PATH, {}, None),
    ("GET", PATH + "/", {"Origin": ORIGIN}, None),
    ("PUT", PATH, {"Origin": ORIGIN}, None),
    ("TRACE", PATH, {}, None),
    ("OPTIONS", PATH, PREFLIGHT, None),
    ("OPTIONS", PATH, {**PREFLIGHT, "Access-Control-Request-Headers": "x-api-key, x-unknown"}, None),
    ("OPTIONS", PATH, {**PREFLIGHT, "Origin": "https://foreign.example"}, None),
    ("OPTIONS", PATH, {"X-API-Key": None}, None),
    ("OPTIONS", "/", {"X-API-Key": None}, None),
    ("POST", "/v1/playouts/tracking/sessions/lookup", OPERATOR, b'{"session_ids": ["{live}", "x"]}'),
    ("POST", "/v1/playouts/tracking/sessions/lookup", OPERATOR, b'{"session_ids": []}'),
    ("POST", "/v1/playouts/tracking/sessions/lookup", {}, b'{"session_ids": ["x"]}'),
    ("GET", FORWARD_AUTH, {**OPERATOR, "Cookie": f"{TOKEN}={{live}}", "baggage": "session.id=x,a=1"}, None),
    ("GET", FORWARD_AUTH, {**OPERATOR, "Origin": ORIGIN}, None),
    ("HEAD", FORWARD_AUTH, {**OPERATOR, TOKEN: "{live}"}, None),
    ("GET", f"{FORWARD_AUTH}?require=live", OPERATOR, None),
    ("PROPFIND", f"{FORWARD_AUTH}/a/b", {"X-API-Key": "revealing-key", TOKEN: "{live}"}, None),
    ("GET", FORWARD_AUTH, {}, None),
    ("PUT", f"{PATH}/user", {TOKEN: "{live}", "Origin": ORIGIN}, b'{"user_id": "user-1"}'),
    ("PUT", f"{PATH}/user", {TOKEN: "{live}"}, b'{"user_id": null}'),
    ("DELETE", f"{PATH}/user", {TOKEN: DEAD}, None),
    ("DELETE", f"{PATH}/user", {"X-API-Key": None}, None),
    ("POST", f"{PATH}/user", {}, None),
    ("GET", FORWARD_AUTH, {"X-API-Key": None}, None),
    ("GET", f"{ANALYTICS}/sessions?from=2020-01-01&to=2020-01-01", OPERATOR, None),
    ("GET", f"{ANALYTICS}/sessions?interval=week", OPERATOR, None),
    ("GET", f"{ANALYTICS}/sessions?tz=Asia/Tokyo&interval=day", OPERATOR, None),
    ("GET", f"{ANALYTICS}/sessions?tz=Asia/Kolkata", OPERATOR, None),
    ("GET", f"{ANALYTICS}/users", OPERATOR, None),
    ("GET", f"{ANALYTICS}/users/user-1", OPERATOR, None),
    ("GET", f"{ANALYTICS}/users/null", OPERATOR, None),
    ("GET", "/v1/playouts/tracking/privacy", {"X-API-Key": None, "Origin": ORIGIN}, None),
    ("GET", "/v1/playouts/tracking/users/user-1/sessions", OPERATOR, None),
    ("DELETE", "/v1/playouts/tracking/users/user-1", OPERATOR, None),
    ("DELETE", PATH, {TOKEN: "{live}"}, None),
    ("DELETE", PATH, {"Origin": ORIGIN}, None),
    ("GET", "/livez", {}, None),
    ("GET", "/readyz", {"Origin": ORIGIN}, None),
    ("GET", "/metrics", {"X-API-Key": None}, None),
    ("GET", "/dashboard", {}, None),
    ("GET", "/docs", {}, None),
    ("GET", "/privacy", {}, None),
    ("GET", "/.well-known/gpc.json", {}, None),
    ("GET", "/nowhere", {"Origin": ORIGIN}, None),
    ("GET", "/" + "x" * 5000, {"Origin": ORIGIN}, None),
    ("GET", PATH, {"X-Padding": "x" * 9000, "Origin": ORIGIN}, None),
    ("GET", PATH, {"Expect": "something"}, None),
]


def steady(text: str) -> str:
    """Replace ids and times."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text


def shape(value: Any, name: str = "") -> Any:
    """Return the fields of a JSON body without messages and numbers.

    A list has at most two items.
    """
    if name in _WORDS:
        return f"<{name}>"
    if isinstance(value, dict):
        return {key: shape(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:2]]
    if isinstance(value, int | float) and not isinstance(value, bool) and name != "status":
        return "<number>"
    return steady(value) if isinstance(value, str) else value


async def recorded(response: ClientResponse) -> dict[str, Any]:
    """Return the parts of a response that clients rely on."""
    headers = [f"{name}: {steady(value)}" for name, value in response.headers.items() if name not in _VOLATILE]
    body = await response.read()
    is_json = response.content_type.endswith("json") and body
    return {
        "status": response.status,
        "headers": sorted(headers),
        "body": shape(json.loads(body)) if is_json else None,
    }


async def answer(service: Service, live: str, request: Request) -> Any:
    """Send one request of the list."""
    method, path, headers, body = request
    filled = {name: value and value.replace("{live}", live) for name, value in headers.items()}
    data = body and body.replace(b"{live}", live.encode())
    if data and "Content-Type" not in headers:
        filled["Content-Type"] = "application/json"
    return await recorded(await service.request(method, path, headers=filled, data=data))


async def test_responses_are_as_recorded(start: Start) -> None:
    """Status, headers, fields and slugs of every kind of answer stay the same."""
    service = await start(api_keys=(*KEYS, REVEALING), cors=CorsSettings(origins=(ORIGIN,)))
    found = {}
    for request in REQUESTS:
        live = await service.create(json={"user_id": "user-1"})
        method, path, headers, body = request
        sent = [f"{name}: {value}"[:80] for name, value in headers.items()]
        name = " | ".join([f"{method} {path[:100]}", *sent, *([body[:60].decode()] if body else [])])
        assert name not in found
        found[name] = await answer(service, live, request)
    if os.environ.get("RECORD_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    assert found == json.loads(GOLDEN.read_text("utf-8"))
