"""All errors of the service, as one tree.

    JayError
    ├── ConfigError                 settings are invalid, lists every error
    ├── ServerError                 the service cannot start
    │   ├── EmbeddedServerError     the embedded Valkey cannot run here
    │   └── TlsError                the certificate or its key is invalid
    ├── CommandError                a command of the command line failed
    ├── StoreUnavailable            Redis is down, hung, full, read-only       503
    │   ├── PartlyUnavailable       the same, for some items of a batch
    │   └── UnknownUserSecret       a user secret in use is not configured     503
    ├── Overloaded                  more requests than can be served in time   503
    └── RequestError                the client has to fix the request
        ├── MalformedRequest        not HTTP, or not JSON                      400
        │   └── UnsupportedVersion  the answer lists the supported versions    400
        ├── Unauthorized            the key is missing or unknown              401
        ├── SessionRequired         forward-auth with `require=live`           401
        ├── Forbidden               the key lacks the scope or the origin      403
        │   └── PreflightRejected   the origin is not configured               403
        ├── NotFound                unknown path                               404
        │   └── SessionNotFound     unknown, expired, ended or malformed id    404
        ├── SessionAlreadyEnded     an idempotency key's session has ended     409
        ├── MethodNotAllowed        `Allow` lists the methods                  405
        ├── RequestTimeout          the body did not arrive in time            408
        ├── BodyTooLarge                                                       413
        ├── UriTooLong                                                         414
        ├── UnsupportedMediaType                                               415
        ├── ExpectationFailed                                                  417
        ├── InvalidRequest          an invalid field or parameter              422
        ├── TooManyRequests         over the limit of an API key or a session  429
        └── HeadersTooLarge                                                    431

`api/problems.py` maps each error to its status, slug and title.
"""

from collections.abc import Sequence
from typing import Any


class JayError(Exception):
    """The base class of all errors of the service."""


class ConfigError(JayError):
    """The settings are invalid. `errors` has one sentence for each error."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__(". ".join(errors))
        self.errors = tuple(errors)


class ServerError(JayError):
    """The service cannot start. The message says what to do."""


class EmbeddedServerError(ServerError):
    """The embedded Valkey cannot run here. The message says what to do instead."""


class TlsError(ServerError):
    """The certificate or its key is invalid. The message names the file and the fix."""


class CommandError(JayError):
    """A command of the command line failed. The message says what to do."""


class StoreUnavailable(JayError):
    """Redis cannot be used now.

    The command may or may not have run. All commands are idempotent.
    """


class PartlyUnavailable(StoreUnavailable):
    """Redis cannot be used for some items of a batch.

    `results` has for each item its result, or its error.
    """

    def __init__(self, results: Sequence[Any]) -> None:
        super().__init__("some servers or shards of Redis cannot be used")
        self.results = results


class UnknownUserSecret(StoreUnavailable):
    """Users may have sessions under a secret that is not in the settings.

    The message says what to do.
    """


class Overloaded(JayError):
    """More requests are in progress than the service can serve in time."""


class RequestError(JayError):
    """A request that the client has to fix.

    `detail` says what to do, for the client's developer. It repeats nothing that the
    client sent. `members` are added to the problem document.
    """

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members


class MalformedRequest(RequestError):
    """The request is not valid HTTP, or its body is not valid JSON."""


class UnsupportedVersion(MalformedRequest):
    """`x-jay-api-version` names an unknown version.

    The field `supported` lists all versions.
    """


class Unauthorized(RequestError):
    """The API key is missing or unknown."""


class SessionRequired(RequestError):
    """The visitor has no live session, and the proxy requires one."""


class Forbidden(RequestError):
    """The API key does not allow the request."""


class PreflightRejected(Forbidden):
    """A CORS preflight comes from an origin that is not configured."""


class NotFound(RequestError):
    """The path is unknown."""


class SessionNotFound(NotFound):
    """The request presents no live session."""


class MethodNotAllowed(RequestError):
    """The path does not support the method."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__("Use one of the methods that Allow lists.")
        self.allowed = tuple(allowed)


class SessionAlreadyEnded(RequestError):
    """The session that a request with this idempotency key created is not live."""


class RequestTimeout(RequestError):
    """The body did not arrive in time."""


class BodyTooLarge(RequestError):
    """The body is over the limit."""


class UriTooLong(RequestError):
    """The request target is over the limit."""


class UnsupportedMediaType(RequestError):
    """The body is not JSON in UTF-8, or it is compressed."""


class ExpectationFailed(RequestError):
    """The `Expect` header has a value other than `100-continue`."""


class InvalidRequest(RequestError):
    """A field, a parameter, or the user id in a path is invalid. `member` names it."""


class TooManyRequests(RequestError):
    """A client address creates too many sessions, or a session changes too often."""

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class HeadersTooLarge(RequestError):
    """A header field is over the limit, or there are too many."""
