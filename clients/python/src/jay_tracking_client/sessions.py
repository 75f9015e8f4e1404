"""Sessions, visits, and the errors of the client.

TrackingError
├── ServiceUnavailable   the service did not answer, or answered 429 or 5xx
└── RequestRejected      the service rejects the client: wrong key, scope or URL
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

DEFAULT_RETRY_AFTER_SECONDS = 1


class TrackingError(Exception):
    """An error of the client. No message has a session id, a user id or a key."""


class ServiceUnavailable(TrackingError):
    """The service cannot answer now. Try again after `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: int = DEFAULT_RETRY_AFTER_SECONDS) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RequestRejected(TrackingError):
    """The service rejects the client's requests. Repeating them does not help."""


@dataclass(frozen=True)
class Session:
    """A live session. `repr` shows neither its id nor its user id.

    `ref` names it in logs and traces. It cannot be presented in place of the id.
    """

    session_id: str = field(repr=False)
    ref: str
    source: str
    start_time: datetime  # UTC
    expires_at: datetime  # UTC
    user_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Visit:
    """The session of a request.

    `state` is `live` with a session, `none` without one, and `unknown` while the service
    does not answer.
    """

    state: Literal["live", "none", "unknown"]
    session: Session | None = None

    @property
    def ref(self) -> str | None:
        """The ref of the live session."""
        return None if self.session is None else self.session.ref
