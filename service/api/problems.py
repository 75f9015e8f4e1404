"""Errors as RFC 9457 problem documents: one table from error to status, slug and title."""

from collections.abc import Iterator

import orjson
from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.responses import problem_document

RETRY_AFTER_SECONDS = "1"

_STORE_DETAIL = "The session store cannot be reached now. Repeat the request after Retry-After."
_OVERLOADED_DETAIL = "The service has more requests in progress than it can serve in time. Repeat after Retry-After."
_INCOMPLETE_DETAIL = "The answer would be incomplete: {reason}."
_BUG_DETAIL = "The service failed in a way that it should not. Report the request_id to those who run it."

# Walked along the error's class hierarchy, so a new kind of error is answered as its nearest relative.
_TABLE: dict[type[Exception], tuple[int, str, str]] = {
    errors.MalformedRequest: (400, "malformed-request", "The request is malformed"),
    errors.UnsupportedVersion: (400, "unsupported-version", "The API version is not supported"),
    errors.Unauthorized: (401, "unauthorized", "The API key is missing or unknown"),
    errors.Forbidden: (403, "forbidden", "The API key may not do this"),
    errors.PreflightRefused: (403, "forbidden", "The preflight is refused"),
    errors.NotFound: (404, "not-found", "There is nothing at this path"),
    errors.SessionNotFound: (404, "session-not-found", "There is no live session"),
    errors.MethodNotAllowed: (405, "method-not-allowed", "The method is not allowed here"),
    errors.RequestTimeout: (408, "request-timeout", "The request body did not arrive in time"),
    errors.BodyTooLarge: (413, "body-too-large", "The request body is too large"),
    errors.UriTooLong: (414, "uri-too-long", "The request target is too long"),
    errors.UnsupportedMediaType: (415, "unsupported-media-type", "The body's media type is not supported"),
    errors.ExpectationFailed: (417, "expectation-failed", "The expectation cannot be met"),
    errors.InvalidRequest: (422, "invalid-request", "A part of the request is invalid"),
    errors.TooManyRequests: (429, "too-many-requests", "Too many sessions are created"),
    errors.HeadersTooLarge: (431, "headers-too-large", "The request headers are too large"),
    errors.StoreUnavailable: (503, "store-unavailable", "The session store is unavailable"),
    errors.Overloaded: (503, "overloaded", "The service is overloaded"),
    Exception: (500, "internal-error", "Internal error"),
}

# After these the rest of the request may still be on its way, and nobody will read it.
_CLOSING = frozenset((400, 408, 413, 414, 417, 431))


def problem_response(error: Exception, request_id: str) -> web.Response:
    """Return the problem document for an error. It repeats nothing of the request."""
    status, slug, title = next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)
    document: dict[str, object] = {
        "type": wire.PROBLEM_TYPE_PREFIX + slug,
        "title": title,
        "status": status,
        "detail": _detail(error),
        "request_id": request_id,
    }
    if isinstance(error, errors.RequestError):
        document |= error.members
    response = problem_document(orjson.dumps(document), status, dict(_headers(error)))
    if status in _CLOSING and not isinstance(error, errors.UnsupportedVersion):
        response.force_close()
    return response


def _detail(error: Exception) -> str:
    if isinstance(error, errors.RequestError):
        return error.detail
    if isinstance(error, errors.Overloaded):
        return _OVERLOADED_DETAIL
    if isinstance(error, errors.UnknownUserSecret):
        return _INCOMPLETE_DETAIL.format(reason=error)
    return _STORE_DETAIL if isinstance(error, errors.StoreUnavailable) else _BUG_DETAIL


def _headers(error: Exception) -> Iterator[tuple[str, str]]:
    if isinstance(error, errors.Unauthorized):
        yield hdrs.WWW_AUTHENTICATE, f'ApiKey header="{wire.API_KEY}"'
    if isinstance(error, errors.MethodNotAllowed):
        yield hdrs.ALLOW, ", ".join(error.allowed)
    if isinstance(error, errors.TooManyRequests):
        yield wire.RETRY_AFTER, str(error.retry_after_seconds)
    if isinstance(error, errors.StoreUnavailable | errors.Overloaded):
        yield wire.RETRY_AFTER, RETRY_AFTER_SECONDS
