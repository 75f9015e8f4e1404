"""Translates the errors of aiohttp's parser into errors of the service.

Status and cause of a parser error
----------------------------------
Without it: aiohttp answers every parser error with 400 and bytes of the request.
    Clients do not learn that a target or a header is too large, or that a method is
    unknown.
Upstream: https://github.com/aio-libs/aiohttp/issues/3287 asks for a way to handle the
    errors.
Versions: 3.14. The limit is the second argument of LineTooLong. Two other causes are
    only in the message of the error.
Test: tests/api/test_transport.py
    test_limits_and_methods
Can go when: aiohttp's errors have the status and the cause as attributes.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from service import errors
from service.api import wire
from service.api.request_limits import MAX_FIELD_BYTES, MAX_HEADERS, MAX_LINE_BYTES

_NOT_HTTP = "The bytes received are not an HTTP/1.1 request. Fix the client or the proxy."
TOO_MANY_HEADERS = "Too many headers received"
# The parser's message ends with the rejected line, as a bytes literal.
METHOD_TOKEN = re.compile(r"b'[A-Z-]+ ")


def _line_too_long(error: LineTooLong) -> Exception:
    # aiohttp raises this error for the target and for a header. The two limits differ.
    if error.args[1] == MAX_LINE_BYTES:
        return errors.UriTooLong(f"Send a request target of at most {MAX_LINE_BYTES} bytes.")
    return errors.HeadersTooLarge(f"Send header fields of at most {MAX_FIELD_BYTES} bytes each.")


def _bad_method(error: BadHttpMethod) -> Exception:
    if METHOD_TOKEN.search(error.message):
        return errors.MethodNotAllowed(wire.ALLOW)
    return errors.MalformedRequest(_NOT_HTTP)


def _not_parsed(error: HttpProcessingError) -> Exception:
    if error.message == TOO_MANY_HEADERS:
        return errors.HeadersTooLarge(f"Send at most {MAX_HEADERS} header fields.")
    return errors.MalformedRequest(_NOT_HTTP)


# The function that translates an error, by the class of the error.
PARSER_ERRORS: Mapping[type[BaseException], Callable[[Any], Exception]] = {
    LineTooLong: _line_too_long,
    BadHttpMethod: _bad_method,
    HttpProcessingError: _not_parsed,
}
