"""`Expect: 100-continue`: the client sends the body only after `100 Continue`.

100 Continue before the decision
--------------------------------
Without it: aiohttp sends the 100 before any handler runs, even before a 401 or a 413.
    The client then sends a body that the service rejects. Here, the code that reads the
    body sends the 100.
Upstream: https://github.com/aio-libs/aiohttp/issues/8877 (open).
Versions: 3.14.
Test: tests/api/test_expectations.py
    test_a_request_that_is_rejected_by_its_head_gets_no_100
Can go when: aiohttp sends the 100 when the handler reads the body.
"""

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from service.api.field_lines import combined, elements

_CONTINUE = "100-continue"
_UNKNOWN = "unknown"
_IS_CONTINUED = web.RequestKey("is_continued", bool)


class ExpectingRequest(web.Request):
    """A request with `Expect`, in HTTP/1.1."""


def take_expectation(message: RawRequestMessage) -> tuple[RawRequestMessage, type[web.Request]]:
    """Return a request's head without its `Expect`, and the class of the request.

    aiohttp sends no 100 for a head without the header. Any expectation other than
    100-continue is replaced with a fixed value, which aiohttp answers with 417.
    HTTP/1.0 has no expectations (RFC 9110 section 10.1.1).
    """
    expected = {one.lower() for one in elements(combined(message.headers, hdrs.EXPECT))}
    headers = CIMultiDict(message.headers)
    del headers[hdrs.EXPECT]
    kind: type[web.Request] = web.Request
    if expected and message.version == HttpVersion11:
        kind = ExpectingRequest
        if expected != {_CONTINUE}:
            headers[hdrs.EXPECT] = _UNKNOWN
    return message._replace(headers=CIMultiDictProxy(headers)), kind


def is_waiting(request: web.Request) -> bool:
    """Return whether the client still waits for the 100 before it sends the body."""
    return type(request) is ExpectingRequest and request.body_exists and _IS_CONTINUED not in request


async def send_continue(request: web.Request) -> None:
    """Send `100 Continue`, so that the client sends its body."""
    request[_IS_CONTINUED] = True
    writer = request.writer
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.output_size = 0  # aiohttp counts only the bytes of the final response
    await writer.drain()
