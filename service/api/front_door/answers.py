"""The bytes of an answer, from the responses that the handlers make too.

A response of aiohttp is an object with a dictionary of headers that is written to bytes
for each request. This module writes the constant parts once.
"""

from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web

CLOSE = "Connection: close\r\n"


def start_of(response: web.Response) -> str:
    """Return the status line and the headers that a response has before it is sent."""
    status = response.status
    lines = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}"


def body_of(response: web.Response) -> bytes:
    """Return the body of a response that was made with bytes."""
    assert isinstance(response.body, bytes)  # noqa: S101 - all of them are
    return response.body


class DateLine:
    """The `Date` header, written once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def at(self, now: float) -> str:
        """Return the line for a time in seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n"
        return self._line
