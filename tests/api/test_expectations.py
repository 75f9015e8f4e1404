"""`Expect: 100-continue`: the service sends 100 only when it reads the body."""

import asyncio
import json

import pytest

from service.api import json_body
from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN, Service
from tests.api.test_transport import parsed

OPERATOR = "/v1/playouts/tracking"
JSON = "Content-Type: application/json"
KEYED = f"X-API-Key: {KEY}"
LENGTH = "Content-Length: 16"
CHUNKED = "Transfer-Encoding: chunked"


def head(method: str, path: str, *lines: str, expect: str = "100-continue") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", f"Expect: {expect}", *lines, "", "")).encode()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("POST", PATH, KEYED, JSON, "Content-Length: 4097"), 413),
        (head("POST", PATH, KEYED, JSON, "Content-Length: 10000000000"), 413),
        (head("POST", PATH, KEYED, "Content-Length: 4097"), 413),
        (head("POST", PATH, KEYED, JSON, "Content-Length: 4097", f"Origin: {ORIGIN}"), 413),
        (head("POST", f"{OPERATOR}/sessions/lookup", "X-API-Key: operator-key", JSON, "Content-Length: 65537"), 413),
        (head("POST", PATH, JSON, LENGTH), 401),
        (head("POST", PATH, JSON, CHUNKED), 401),
        (head("POST", PATH, "X-API-Key: wrong", JSON, LENGTH), 401),
        (head("POST", PATH, KEYED, KEYED, JSON, LENGTH), 400),
        (head("POST", PATH, "X-API-Key: operator-key", JSON, LENGTH), 403),
        (head("POST", PATH, KEYED, "x-jay-api-version: 1999-01-01", JSON, LENGTH), 400),
        (head("POST", PATH, KEYED, "Content-Type: text/plain", LENGTH), 415),
        (head("POST", PATH, KEYED, "Content-Type: application/json; charset=latin-1", LENGTH), 415),
        (head("POST", PATH, KEYED, JSON, "Content-Encoding: gzip", LENGTH), 415),
        (head("POST", PATH, KEYED, JSON, "Content-Encoding: gzip", CHUNKED), 415),
        (head("POST", "/nowhere", KEYED, JSON, LENGTH), 404),
        (head("PATCH", PATH, KEYED, JSON, LENGTH), 405),
        (head("POST", "/livez", LENGTH), 405),
        (head("POST", PATH, KEYED, JSON, "Transfer-Encoding: gzip, chunked"), 400),
        (head("POST", PATH, KEYED, JSON, LENGTH, expect="100-continue, foo"), 417),
        (head("DELETE", PATH, KEYED, LENGTH), 204),
        (head("GET", PATH, KEYED, LENGTH), 404),
        (head("OPTIONS", PATH, LENGTH), 204),
    ],
)
async def test_a_request_that_is_rejected_by_its_head_gets_no_100(
    service: Service, request_head: bytes, status: int
) -> None:
    """A response that needs no body is sent without a 100, and then the close.

    The service cannot know whether a body follows.
    """
    answer = await service.raw(request_head)
    found, headers, _ = parsed(answer)
    assert found == status
    assert headers["connection"] == "close"


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue", "100-continue, 100-continue", ""])
async def test_a_body_that_is_read_is_asked_for_first(service: Service, expect: str) -> None:
    """A body that is read is preceded by a 100, and the connection stays open."""
    body = b'{"user_id": "u"}'
    request_head = head("POST", PATH, KEYED, JSON, f"Content-Length: {len(body)}", expect=expect)
    if not expect:
        answer = await service.raw(request_head + body)
    else:
        answer = await service.raw_after_continue(request_head, body)
    status, headers, document = parsed(answer)
    assert (status, document["user_id"]) == (201, "u")
    assert "connection" not in headers


@pytest.mark.parametrize("headers", [[LENGTH], [CHUNKED], [LENGTH, f"Origin: {ORIGIN}"]])
async def test_the_100_is_sent_once(service: Service, headers: list[str]) -> None:
    """The 100 is sent once, also for chunks and for pages."""
    body = b'{"user_id": "u"}'
    sent = b"10\r\n" + body + b"\r\n0\r\n\r\n" if CHUNKED in headers else body
    request_head = head("POST", PATH, KEYED, JSON, "Connection: close", *headers)
    answer = await service.raw(request_head + sent, until_closed=True)
    interim, final = answer.split(b"\r\n\r\n", 1)
    assert interim == b"HTTP/1.1 100 Continue"
    assert parsed(final)[0] == 201


async def test_a_lookup_asks_for_its_body_too(service: Service) -> None:
    """A lookup sends a 100 too."""
    body = json.dumps({"session_ids": [await service.create()]}).encode()
    lines = ("X-API-Key: operator-key", JSON, f"Content-Length: {len(body)}")
    answer = await service.raw_after_continue(head("POST", f"{OPERATOR}/sessions/lookup", *lines), body)
    assert parsed(answer)[0] == 200


@pytest.mark.parametrize("lines", [[], ["Content-Length: 0"]])
async def test_an_expectation_without_a_body_is_ignored(service: Service, lines: list[str]) -> None:
    """An expectation without a body is ignored, and the connection stays open."""
    status, headers, _ = parsed(await service.raw(head("POST", PATH, KEYED, *lines)))
    assert status == 201
    assert "connection" not in headers


@pytest.mark.parametrize("expect", ["100-continue", "foo"])
async def test_http_1_0_has_no_expectations(service: Service, expect: str) -> None:
    """HTTP/1.0 ignores the header (RFC 9110 section 10.1.1)."""
    request = head("POST", PATH, KEYED, JSON, LENGTH, expect=expect).replace(b"HTTP/1.1", b"HTTP/1.0")
    status, _, document = parsed(await service.raw(request + b'{"user_id": "u"}', until_closed=True))
    assert (status, document["user_id"]) == (201, "u")


async def test_a_body_that_never_follows_is_408(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body timeout applies after a 100."""
    monkeypatch.setattr(json_body, "DEADLINE_SECONDS", 0.05)
    answer = await service.raw_after_continue(head("POST", PATH, KEYED, JSON, LENGTH), b"")
    assert parsed(answer)[0] == 408


async def test_the_next_request_is_not_read_as_the_body(service: Service) -> None:
    """After a rejected expectation, the service reads neither body nor request."""
    session_id = await service.create()
    after = f"DELETE {PATH} HTTP/1.1\r\nHost: x\r\n{KEYED}\r\n{TOKEN}: {session_id}\r\n\r\n".encode()
    async with asyncio.timeout(10):
        answer = await service.raw(head("POST", PATH, JSON, LENGTH), after, until_closed=True)
    assert parsed(answer)[0] == 401
    assert answer.count(b"\r\nServer: ") == 1
    assert (await service.request("GET", headers={TOKEN: session_id})).status == 200
