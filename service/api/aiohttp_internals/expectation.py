"""`Expect: 100-continue`: the client sends the body only after `100 Continue`.

aiohttp sends the 100 before any handler runs, so also before a 401 or a 413. Here the 100 is
sent by the code that reads the body. A request that is refused by its head never gets one.
"""

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from service.api.field_lines import combined, elements

_CONTINUE = "100-continue"
_UNKNOWN = "unknown"
_IS_CONTINUED = web.RequestKey("is_continued", bool)


class ExpectingRequest(web.Request):
    """A request whose client expects a 100, or something that the service does not know."""


def take_expectation(message: RawRequestMessage) -> tuple[RawRequestMessage, type[web.Request]]:
    """Return a request's head without its `Expect`, and the class of the request.

    Without the header, aiohttp sends no 100. An expectation other than 100-continue stays as
    a fixed value, which aiohttp refuses with 417. HTTP/1.0 has no expectations (RFC 9110
    section 10.1.1).
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
    """Return whether the client of a request still waits for 100 before it sends the body."""
    return type(request) is ExpectingRequest and request.body_exists and _IS_CONTINUED not in request


async def send_continue(request: web.Request) -> None:
    """Have a client that waits send its body."""
    request[_IS_CONTINUED] = True
    writer = request.writer
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.output_size = 0  # aiohttp counts the bytes of the final response alone
    await writer.drain()
