"""Problem documents (RFC 9457): a table of status, slug, title, detail, headers.

`service/errors.py` declares the errors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.responses import Headers, problem_document

RETRY_AFTER_SECONDS = "1"

# Further headers for the problem document of a request, set by its handler.
ERROR_HEADERS = web.RequestKey("error_headers", dict[str, str])

_RETRY: Headers = {wire.RETRY_AFTER: RETRY_AFTER_SECONDS}


def _own_detail(error: Any) -> str:
    return str(error.detail)


def _no_headers(_: Any) -> Headers:
    return {}


@dataclass(frozen=True, slots=True)
class _Problem:
    """One row of the table.

    `closes` closes the connection after the answer, because unread bytes of the request
    may follow.
    """

    status: int
    slug: str
    title: str
    detail: Callable[[Any], str] = _own_detail
    headers: Callable[[Any], Headers] = _no_headers
    closes: bool = False


# `problem_response` searches the class hierarchy, so an error without a row gets the
# row of its nearest base class.
_TABLE: dict[type[Exception], _Problem] = {
    errors.MalformedRequest: _Problem(400, "malformed-request", "The request is malformed", closes=True),
    errors.UnsupportedVersion: _Problem(400, "unsupported-version", "The API version is not supported"),
    errors.Unauthorized: _Problem(
        401,
        "unauthorized",
        "The API key is missing or unknown",
        headers=lambda _: {hdrs.WWW_AUTHENTICATE: f'ApiKey header="{wire.API_KEY}"'},
    ),
    errors.SessionRequired: _Problem(
        401,
        "session-required",
        "The request needs a live session",
        headers=lambda _: {hdrs.WWW_AUTHENTICATE: f'Session cookie="{wire.SESSION_TOKEN}"'},
    ),
    errors.Forbidden: _Problem(403, "forbidden", "The API key may not do this"),
    errors.PreflightRejected: _Problem(403, "forbidden", "The preflight is rejected"),
    errors.NotFound: _Problem(404, "not-found", "There is nothing at this path"),
    errors.SessionNotFound: _Problem(404, "session-not-found", "There is no live session"),
    errors.MethodNotAllowed: _Problem(
        405,
        "method-not-allowed",
        "The method is not allowed here",
        headers=lambda error: {hdrs.ALLOW: ", ".join(error.allowed)},
    ),
    errors.SessionAlreadyEnded: _Problem(409, "session-already-ended", "The session has ended already"),
    errors.RequestTimeout: _Problem(408, "request-timeout", "The request body did not arrive in time", closes=True),
    errors.BodyTooLarge: _Problem(413, "body-too-large", "The request body is too large", closes=True),
    errors.UriTooLong: _Problem(414, "uri-too-long", "The request target is too long", closes=True),
    errors.UnsupportedMediaType: _Problem(415, "unsupported-media-type", "The body's media type is not supported"),
    errors.ExpectationFailed: _Problem(417, "expectation-failed", "The expectation cannot be met", closes=True),
    errors.InvalidRequest: _Problem(422, "invalid-request", "A part of the request is invalid"),
    errors.TooManyRequests: _Problem(
        429,
        "too-many-requests",
        "Too many requests",
        headers=lambda error: {wire.RETRY_AFTER: str(error.retry_after_seconds)},
    ),
    errors.HeadersTooLarge: _Problem(431, "headers-too-large", "The request headers are too large", closes=True),
    errors.StoreUnavailable: _Problem(
        503,
        "store-unavailable",
        "The session store is unavailable",
        detail=lambda _: "The session store cannot be reached now. Repeat the request after Retry-After.",
        headers=lambda _: _RETRY,
    ),
    errors.UnknownUserSecret: _Problem(
        503,
        "store-unavailable",
        "The session store is unavailable",
        detail=lambda error: f"The answer would be incomplete: {error}.",
        headers=lambda _: _RETRY,
    ),
    errors.Overloaded: _Problem(
        503,
        "overloaded",
        "The service is overloaded",
        detail=lambda _: (
            "The service has more requests in progress than it can serve in time. Repeat after Retry-After."
        ),
        headers=lambda _: _RETRY,
    ),
    Exception: _Problem(
        500,
        "internal-error",
        "Internal error",
        detail=lambda _: "The service failed because of a bug. Report the request_id to its operator.",
    ),
}


def problem_response(error: Exception, request_id: str) -> web.Response:
    """Return the problem document for an error. It repeats nothing of the request."""
    problem = next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)
    document: dict[str, object] = {
        "type": wire.PROBLEM_TYPE_PREFIX + problem.slug,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail(error),
        "request_id": request_id,
    }
    if isinstance(error, errors.RequestError):
        document |= error.members
    response = problem_document(orjson.dumps(document), problem.status, problem.headers(error))
    if problem.closes:
        response.force_close()
    return response
