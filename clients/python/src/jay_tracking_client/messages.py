"""HTTP requests and answers as values, without I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# The service accepts both header names. Some proxies drop the other one, which has an
# underscore.
SESSION_HEADER = "X-Jay-Tracking"
SESSION_COOKIE = "__Secure-jay_tracking"
EXPIRES_HEADER = "X-Jay-Session-Expires"
IDEMPOTENCY_HEADER = "Idempotency-Key"
SESSION_PATH = "/v1/playouts/tracking/session"
USER_PATH = f"{SESSION_PATH}/user"
LOOKUP_PATH = "/v1/playouts/tracking/sessions/lookup"
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request without the API key, which the transport adds.

    `reads` says that a POST changes nothing. Headers and bodies have session ids and
    user ids, so they are not in the representation.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    reads: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether the service does the same when it gets the request twice."""
        return self.reads or self.method in _REPEATABLE or IDEMPOTENCY_HEADER in self.headers


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the service. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004

    def header(self, name: str) -> str:
        """Return a header, or the empty string."""
        return self.headers.get(name, "")

    @property
    def sent_at(self) -> datetime | None:
        """The time of the service, from the header Date."""
        return _http_date(self.header("date"))

    @property
    def retry_after_seconds(self) -> float | None:
        """The header Retry-After in seconds.

        A date, which some proxies send, is compared with the `Date` of the answer and
        not with the clock of this machine.
        """
        value = self.header("retry-after")
        if re.fullmatch("[0-9]{1,9}", value):
            return float(value)
        until = _http_date(value)
        if until is None:
            return None
        return max(0.0, (until - (self.sent_at or datetime.now(UTC))).total_seconds())


def _http_date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
