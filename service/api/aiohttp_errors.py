"""Translates the errors that aiohttp raises into those of the service.

Nothing of aiohttp's text is passed on, because it may repeat bytes of the request.
"""

import re
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from service import errors
from service.api import wire
from service.api.request_limits import MAX_FIELD_BYTES, MAX_HEADERS, MAX_LINE_BYTES

USE_ALLOW = "Use one of the methods that Allow lists."

_NOT_HTTP = "The bytes received are not an HTTP/1.1 request. Fix the client or the proxy."
_TOO_MANY_HEADERS = "Too many headers received"
# The parser's message ends with the line that it refused, as a bytes literal.
_METHOD_TOKEN = re.compile(r"b'[A-Z-]+ ")


def _line_too_long(error: LineTooLong) -> Exception:
    # aiohttp raises one error for both. The limits differ, so the limit says which it
    # was.
    if error.args[1] == MAX_LINE_BYTES:
        return errors.UriTooLong(f"Send a request target of at most {MAX_LINE_BYTES} bytes.")
    return errors.HeadersTooLarge(f"Send header fields of at most {MAX_FIELD_BYTES} bytes each.")


def _bad_method(error: BadHttpMethod) -> Exception:
    if _METHOD_TOKEN.search(error.message):
        return errors.MethodNotAllowed(USE_ALLOW, wire.ALLOW)
    return errors.MalformedRequest(_NOT_HTTP)


def _not_parsed(error: HttpProcessingError) -> Exception:
    if error.message == _TOO_MANY_HEADERS:
        return errors.HeadersTooLarge(f"Send at most {MAX_HEADERS} header fields.")
    return errors.MalformedRequest(_NOT_HTTP)


def _method_not_allowed(error: web.HTTPMethodNotAllowed) -> Exception:
    return errors.MethodNotAllowed(USE_ALLOW, sorted(error.allowed_methods))


def _expectation_failed(_: web.HTTPExpectationFailed) -> Exception:
    return errors.ExpectationFailed("Leave out the Expect header, or send 100-continue.")


# Walked along the class hierarchy of the error.
_TABLE: dict[type[BaseException], Callable[[Any], Exception]] = {
    LineTooLong: _line_too_long,
    BadHttpMethod: _bad_method,
    HttpProcessingError: _not_parsed,
    web.HTTPMethodNotAllowed: _method_not_allowed,
    web.HTTPExpectationFailed: _expectation_failed,
}


def translate(error: BaseException | None) -> Exception:
    """Return the service's error for one of aiohttp's.

    Other errors are returned as they are.

    The parser sometimes gives no error, which is a bug of aiohttp.
    """
    for kind in type(error).__mro__:
        if kind in _TABLE:
            return _TABLE[kind](error)
    return error if isinstance(error, Exception) else RuntimeError("aiohttp gave no reason")
