"""The errors of the client. No error has a session id, a user id or an API key.

    TrackingError
    ├── RequestFailed            the service has answered, and repeating does not help
    │   ├── InvalidRequest       400, 413, 415, 422: `member` names the field
    │   ├── Unauthorized         401: the API key is missing or unknown
    │   ├── Forbidden            403: the API key lacks the scope
    │   ├── SessionNotFound      404: the session is unknown, has expired or has ended
    │   ├── RouteNotFound        404: the service does not have this route
    │   ├── SessionAlreadyEnded  409: the session of this idempotency key has ended
    │   └── UnexpectedAnswer     any other status, or a body that is not the service's
    └── ServiceUnavailable       repeat later, after `retry_after_seconds` if it is known
        ├── TooManyRequests      429: too many creations, or changes of a user
        ├── Unready              5xx: the service or a proxy cannot serve now
        ├── ConnectionFailed     no connection, or it broke
        └── TimedOut             no answer in time

Arguments that the service could never accept, such as an API key with a line feed, are
a ValueError of Python.
"""

import json
from collections.abc import Mapping
from typing import Any

from jay_tracking_client.messages import Answer

_PREFIX = "urn:jay:problem:"


class TrackingError(Exception):
    """The base of all errors of the client."""


class RequestFailed(TrackingError):
    """The service rejects the request. Fields are None where the answer lacks them."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.slug = _string(problem, "type").removeprefix(_PREFIX) or None
        self.detail = _string(problem, "detail") or None
        self.member = _string(problem, "member") or None
        self.request_id = _string(problem, "request_id") or None
        message = f"{status} {self.slug}" if self.slug else str(status)
        if self.detail:
            message += f": {self.detail}"
        if self.request_id:
            message += f" (request id {self.request_id})"
        super().__init__(message)


class InvalidRequest(RequestFailed):
    """The service rejects a field."""


class Unauthorized(RequestFailed):
    """The API key is missing or unknown."""


class Forbidden(RequestFailed):
    """The API key lacks the scope."""


class SessionNotFound(RequestFailed):
    """The session is unknown, has expired or has ended."""


class RouteNotFound(RequestFailed):
    """The service does not have this route: an older version, or a wrong URL."""


class SessionAlreadyEnded(RequestFailed):
    """The session that this idempotency key created has ended."""


class UnexpectedAnswer(RequestFailed):
    """The service documents no such answer."""


class ServiceUnavailable(TrackingError):
    """The service cannot answer now. It says nothing about the session."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class TooManyRequests(ServiceUnavailable):
    """A creation above the limit of the API key, or too many changes of a user."""


class Unready(ServiceUnavailable):
    """The service or a proxy in front of it cannot serve now."""


class ConnectionFailed(ServiceUnavailable):
    """The connection could not be opened, or it broke."""


class TimedOut(ServiceUnavailable):
    """No answer arrived in time."""


_BY_STATUS: Mapping[int, type[RequestFailed]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    409: SessionAlreadyEnded,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
}
_BY_SLUG: Mapping[str, type[RequestFailed]] = {"session-not-found": SessionNotFound, "not-found": RouteNotFound}


def error_of(answer: Answer) -> TrackingError:
    """Return the error of an answer that is not a success."""
    if answer.status == 429:  # noqa: PLR2004
        return TooManyRequests("429: too many creations, or changes of a user", answer.retry_after_seconds)
    if answer.status >= 500:  # noqa: PLR2004
        return Unready(f"{answer.status}: the service cannot serve now", answer.retry_after_seconds)
    problem = _problem_in(answer)
    kind = _BY_STATUS.get(answer.status) or _BY_SLUG.get(_string(problem, "type").removeprefix(_PREFIX))
    return (kind or UnexpectedAnswer)(answer.status, problem)


def _problem_in(answer: Answer) -> Mapping[str, Any]:
    """Return the problem document, or nothing if the body is someone else's."""
    if not answer.header("content-type").startswith("application/problem+json"):
        return {}
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _string(problem: Mapping[str, Any], name: str) -> str:
    value = problem.get(name)
    return value if isinstance(value, str) else ""
