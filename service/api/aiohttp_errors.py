"""Translates the errors that aiohttp raises into errors of the service.

aiohttp's messages may contain bytes of the request, so they are never passed on. The
errors of aiohttp's parser are in `aiohttp_internals/parser_errors.py`.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from service import errors
from service.api.aiohttp_internals.parser_errors import PARSER_ERRORS


def _method_not_allowed(error: web.HTTPMethodNotAllowed) -> Exception:
    return errors.MethodNotAllowed(sorted(error.allowed_methods))


def _expectation_failed(_: web.HTTPExpectationFailed) -> Exception:
    return errors.ExpectationFailed("Leave out the Expect header, or send 100-continue.")


_TABLE: dict[type[BaseException], Callable[[Any], Exception]] = {
    **PARSER_ERRORS,
    web.HTTPMethodNotAllowed: _method_not_allowed,
    web.HTTPExpectationFailed: _expectation_failed,
}


def translate(error: BaseException | None) -> Exception:
    """Return the service's error for one of aiohttp's.

    Any other error is returned unchanged. `error` is None when aiohttp's parser gives
    no reason, which is a bug of aiohttp.
    """
    for kind in type(error).__mro__:
        if kind in _TABLE:
            return _TABLE[kind](error)
    return error if isinstance(error, Exception) else RuntimeError("aiohttp gave no reason")
