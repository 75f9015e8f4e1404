"""Everything that can go wrong, as one tree.

    JayError
    ├── ConfigError                 the settings cannot be used; lists every error
    ├── ServerError                 the service cannot start; says what to do
    │   ├── EmbeddedServerError     the private Valkey cannot run here
    │   └── TlsError                the certificate or its key cannot be used
    ├── CommandError                a command of the command line failed; says what to do
    ├── StoreUnavailable            Redis down, hung, full, read-only, loading, unfit   503
    │   └── UnknownUserSecret       users' sessions may live under another secret       503
    ├── Overloaded                  more requests than the service can serve in time    503
    └── RequestError                the client's to mend
        ├── MalformedRequest        not HTTP, or not JSON                               400
        │   └── UnsupportedVersion  the response names those there are                  400
        ├── Unauthorized            key missing or unknown, answered alike              401
        ├── Forbidden               the key lacks the scope or the origin               403
        │   └── PreflightRefused    the origin is not configured                        403
        ├── NotFound                no such path                                        404
        │   └── SessionNotFound     unknown, expired, ended and malformed alike         404
        ├── MethodNotAllowed        `Allow` says which                                  405
        ├── RequestTimeout          the body stalled                                    408
        ├── BodyTooLarge                                                                413
        ├── UriTooLong                                                                  414
        ├── UnsupportedMediaType                                                        415
        ├── ExpectationFailed                                                           417
        ├── InvalidRequest          well-formed, but a member or parameter is wrong     422
        ├── TooManyRequests         creation over the API key's limit                   429
        └── HeadersTooLarge                                                             431

`api/problems.py` gives each its status, slug and title.
"""

from collections.abc import Sequence


class JayError(Exception):
    """Root of all errors of the service's own."""


class ConfigError(JayError):
    """The settings cannot be used. `errors` has one sentence for each thing to mend."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = tuple(errors)


class ServerError(JayError):
    """The service cannot start; the message says what to do."""


class EmbeddedServerError(ServerError):
    """The private Valkey cannot run here; the message says what to do instead."""


class TlsError(ServerError):
    """The certificate or its key cannot be used; the message names the file and what to do."""


class CommandError(JayError):
    """A command of the command line cannot do what it was asked; the message says what to do."""


class StoreUnavailable(JayError):
    """Redis cannot be asked now. Says nothing about whether the command ran: all commands are repeatable."""


class UnknownUserSecret(StoreUnavailable):
    """Sessions of users may live under a secret that is not in the settings. The message says what to do."""


class Overloaded(JayError):
    """A shortage of the service's own: more requests are in progress than it can serve in time."""


class RequestError(JayError):
    """A request that cannot be served as it is.

    `detail` is written for the person who has to mend the client, and repeats nothing that the client sent.
    `members` go into the problem document as they are.
    """

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members


class MalformedRequest(RequestError):
    """The request is not what HTTP or JSON allow."""


class UnsupportedVersion(MalformedRequest):
    """`x-jay-api-version` names no version of this API; member `supported` lists them."""


class Unauthorized(RequestError):
    """The API key is missing or unknown."""


class Forbidden(RequestError):
    """The API key may not do this."""


class PreflightRefused(Forbidden):
    """A CORS preflight comes from an origin that is not configured."""


class NotFound(RequestError):
    """There is nothing at this path."""


class SessionNotFound(NotFound):
    """The request presents no live session."""


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__("Use one of the methods that Allow lists.")
        self.allowed = tuple(allowed)


class RequestTimeout(RequestError):
    """The body did not arrive in time."""


class BodyTooLarge(RequestError):
    """The body is over the limit."""


class UriTooLong(RequestError):
    """The request target is over the limit."""


class UnsupportedMediaType(RequestError):
    """The body is in a form that is not read here."""


class ExpectationFailed(RequestError):
    """The `Expect` header asks for something else than `100-continue`."""


class InvalidRequest(RequestError):
    """A member of the body, a parameter, or the user id in a path is wrong; member `member` names it."""


class TooManyRequests(RequestError):
    """A client address creates sessions faster than its API key allows."""

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class HeadersTooLarge(RequestError):
    """A header field is over the limit, or there are too many."""
