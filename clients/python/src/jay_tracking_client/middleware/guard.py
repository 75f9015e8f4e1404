"""Decides which visitors pass a middleware. It is the same for all frameworks.

A visitor without a live session passes, unless the options require one. While the
service is away, visitors pass without a session or are refused, by option.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from jay_tracking_client.errors import ServiceUnavailable
from jay_tracking_client.sessions import Session

WhenAway = Literal["open", "closed"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a visitor in place of the application's: a problem document."""

    status: int
    reason: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Lets visitors pass, or refuses them, by the options of a middleware.

    With `require_session`, a visitor without a live session gets 401. With `when_away`
    "closed", every visitor with a session id gets 503 while the service is away. With
    "open", the application gets None, although the session may be live.
    """

    require_session: bool = False
    when_away: WhenAway = "open"

    def check_session(self, session: Session | None) -> Refusal | None:
        """Return the refusal of a visitor with this session, or None."""
        if session is None and self.require_session:
            detail = "The request presents no live session. Create one and repeat the request."
            return _refusal(401, "Unauthorized", "session-required", detail)
        return None

    def check_outage(self, error: ServiceUnavailable) -> Refusal | None:
        """Return the refusal of a visitor whose session is unknown, or None."""
        if self.when_away == "open":
            return None
        detail = "The session cannot be checked now. Repeat the request after Retry-After."
        seconds = max(1, ceil(error.retry_after_seconds or 0.0))
        return _refusal(503, "Service Unavailable", "store-unavailable", detail, **{"Retry-After": str(seconds)})


def _refusal(status: int, reason: str, slug: str, detail: str, **headers: str) -> Refusal:
    document = {"type": f"urn:jay:problem:{slug}", "title": reason, "status": status, "detail": detail}
    fixed = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    return Refusal(status, reason, json.dumps(document).encode(), fixed | headers)
