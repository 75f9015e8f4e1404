"""The policy of the middleware: which requests pass, and the answers to the others."""

import json
from dataclasses import dataclass
from http import HTTPStatus

from jay_tracking_client.sessions import DEFAULT_RETRY_AFTER_SECONDS, Visit


@dataclass(frozen=True)
class Policy:
    """When requests are rejected.

    With `requires_session`, a request without a live session gets 401. With
    `fails_closed`, every request gets 503 while the service does not answer. Otherwise
    its visit is `unknown` then, and the application decides.
    """

    requires_session: bool = False
    fails_closed: bool = False

    def rejection(self, visit: Visit) -> "Rejection | None":
        """Return the answer to a request that is rejected."""
        if visit.state == "none" and self.requires_session:
            return Rejection(HTTPStatus.UNAUTHORIZED, "session-required", "The request presents no live session.")
        if visit.state == "unknown" and self.fails_closed:
            return Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable", "Sessions cannot be checked now.")
        return None


@dataclass(frozen=True)
class Rejection:
    """A response with a problem document (RFC 9457)."""

    status: HTTPStatus
    slug: str
    detail: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(DEFAULT_RETRY_AFTER_SECONDS)
        return headers

    @property
    def body(self) -> bytes:
        """The body of the response."""
        problem = {
            "type": f"urn:jay:problem:{self.slug}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        return json.dumps(problem).encode()
