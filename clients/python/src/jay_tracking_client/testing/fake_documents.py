"""Bodies and headers that the fake service reads and writes."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jay_tracking_client.candidates import candidates
from jay_tracking_client.messages import EXPIRES_HEADER, SESSION_COOKIE, SESSION_HEADER, Answer, Request
from jay_tracking_client.sessions import Session

JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}
MAX_USER_ID_LENGTH = 128
# JavaScript's strings for a missing value, which the service rejects.
_MISSING_VALUES = frozenset({"undefined", "null", "NaN", "[object Object]"})


class Problem(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, slug: str, member: str | None = None) -> None:
        self.answer = problem(status, slug, member)


def problem(status: int, slug: str, member: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a problem document as the service sends it."""
    document = {
        "type": f"urn:jay:problem:{slug}",
        "title": slug,
        "status": status,
        "detail": "An error of the fake service.",
        "request_id": "0123456789abcdef",
    }
    if member:
        document["member"] = member
    return Answer(status, {"content-type": "application/problem+json", **(headers or {})}, json_of(document))


def json_of(content: object) -> bytes:
    """Return JSON."""
    return json.dumps(content).encode()


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def session_headers(session: Session) -> dict[str, str]:
    """Return the headers of an answer with a session."""
    return JSON_HEADERS | {EXPIRES_HEADER.lower(): _rfc3339(session.expires_at)}


def fields_of(session: Session) -> dict[str, str]:
    """Return the fields of a session's body."""
    started_at = session.started_at.strftime("%Y-%m-%dT%H:%M:%S.%f")
    fields = {"session_id": session.id, "start_time": started_at, "source": session.source}
    return fields if session.user_id is None else fields | {"user_id": session.user_id}


def found_fields(session: Session) -> dict[str, str | None]:
    """Return the fields of a session in the answer to a lookup."""
    return fields_of(session) | {"expires_at": _rfc3339(session.expires_at), "ref": session.ref}


def presented(request: Request) -> list[str]:
    """Return the session ids that a request presents."""
    names = ("cookie", SESSION_COOKIE.lower(), SESSION_HEADER.lower())
    return candidates(*([request.headers[name]] if name in request.headers else [] for name in names))


def object_in(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body, empty without a body."""
    if not (request.body or b"").strip():
        return {}
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Problem(415, "unsupported-media-type")
    try:
        content = json.loads(request.body or b"")
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Problem(400, "malformed-request")
    return content


def user_id_in(request: Request) -> str | None:
    """Return the user id in the body, or None for a guest."""
    content = object_in(request)
    user_id = content.get("user_id", content.get("userId"))
    if user_id is None or user_id == "":
        return None
    is_valid = (
        isinstance(user_id, str)
        and len(user_id) <= MAX_USER_ID_LENGTH
        and user_id.isprintable()
        and user_id.strip()
        and user_id not in _MISSING_VALUES
    )
    if not is_valid:
        raise Problem(422, "invalid-request", "user_id")
    return str(user_id)
