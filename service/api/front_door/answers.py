"""The bytes of an answer, from the responses that the handlers make too.

A response of aiohttp is an object with a dictionary of headers that is written to bytes
for each request. This module writes the constant parts once.
"""

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web

from service import errors
from service.api import wire
from service.api.dispatcher import problem_of
from service.api.front_door.exchange import Answer
from service.api.problems import problem_response
from service.sessions import Session

CLOSE = "Connection: close\r\n"
_EXPIRES = f"{wire.SESSION_EXPIRES}: "


def start_of(response: web.Response) -> str:
    """Return the status line and the headers that a response has before it is sent."""
    status = response.status
    lines = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}"


def expires_line(session: Session) -> str:
    """Return the header with the end of a session's lifetime."""
    return f"{_EXPIRES}{session.expires_at}\r\n"


def _body_of(response: web.Response) -> bytes:
    """Return the body of a response that was made with bytes."""
    assert isinstance(response.body, bytes)  # noqa: S101 - all of them are
    return response.body


@dataclass(frozen=True, slots=True)
class ProblemTemplate:
    """The problem document of an error, without the request id, its last field."""

    status: int
    start: str
    body: bytes

    @classmethod
    def of(cls, error: Exception) -> "ProblemTemplate":
        """Return the template of an error."""
        response = problem_response(error, "")
        return cls(response.status, start_of(response), _body_of(response).removesuffix(b'"}'))

    def answer(self, request_id: str) -> Answer:
        """Return the answer to a request."""
        return self.status, self.start, b'%b%b"}' % (self.body, request_id.encode())


class Problems:
    """Answers with problem documents. A service in trouble sends thousands a second."""

    def __init__(self) -> None:
        self._templates: dict[type[Exception], ProblemTemplate] = {
            type(error): ProblemTemplate.of(error) for error in (errors.Overloaded(), errors.StoreUnavailable())
        }

    def answer(self, error: Exception, request_id: str) -> Answer:
        """Return the answer for an error. A bug of the service is logged."""
        if template := self._templates.get(type(error)):
            return template.answer(request_id)
        response = problem_of(error, request_id)
        return response.status, start_of(response), _body_of(response)


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
