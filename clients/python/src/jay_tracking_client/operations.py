"""The operations of the service: how a request is built and its answer is read."""

import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from jay_tracking_client.errors import SessionNotFound, UnexpectedAnswer, error_of
from jay_tracking_client.messages import (
    EXPIRES_HEADER,
    IDEMPOTENCY_HEADER,
    LOOKUP_PATH,
    SESSION_HEADER,
    SESSION_PATH,
    USER_PATH,
    Answer,
    Request,
)
from jay_tracking_client.sessions import Session, parse_session_id

MAX_IDS = 1000  # of one lookup
_JSON = {"Content-Type": "application/json"}
_IDEMPOTENCY_KEY = re.compile("[!-+\\--~]{16,64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A request, and the function that reads its answer or raises its error."""

    request: Request
    result: Callable[[Answer], T]


class Found(NamedTuple):
    """The live sessions of a lookup, and the service's time if the answer has it."""

    sessions: list[Session]
    answered_at: datetime | None


def create(user_id: str | None, idempotency_key: str | None, *, gpc: bool) -> Operation[Session]:
    """Create a session. Without a key, it gets a random one, so it is repeatable."""
    key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise ValueError("idempotency_key must have 16 to 64 visible ASCII characters and no comma")
    headers = {IDEMPOTENCY_HEADER: key}
    if gpc:
        headers["Sec-GPC"] = "1"
    if user_id is None:
        return Operation(Request("POST", SESSION_PATH, headers), _session)
    return Operation(Request("POST", SESSION_PATH, headers | _JSON, _user_body(user_id)), _session)


def get(session_id: str) -> Operation[Session]:
    """Read a session."""
    return Operation(Request("GET", SESSION_PATH, _presenting(session_id)), _session)


def end(session_id: str) -> Operation[None]:
    """End a session."""
    return Operation(Request("DELETE", SESSION_PATH, _presenting(session_id)), _nothing)


def set_user(session_id: str, user_id: str) -> Operation[Session]:
    """Continue a session with a user id, under a new session id."""
    headers = _presenting(session_id) | _JSON
    return Operation(Request("PUT", USER_PATH, headers, _user_body(user_id)), _session)


def clear_user(session_id: str) -> Operation[Session]:
    """Continue a session without a user id, under a new session id."""
    return Operation(Request("DELETE", USER_PATH, _presenting(session_id)), _session)


def lookup(session_ids: Sequence[str]) -> Operation[Found]:
    """Return the live sessions among at most 1,000 ids."""
    body = json.dumps({"session_ids": list(session_ids)}, separators=(",", ":")).encode()
    return Operation(Request("POST", LOOKUP_PATH, _JSON, body, reads=True), _found)


def _presenting(session_id: str) -> dict[str, str]:
    parsed = parse_session_id(session_id)
    if parsed is None:
        # The service ignores such an id, and a header cannot carry every string.
        raise SessionNotFound(404, {"type": "session-not-found", "detail": "The value is not a session id."})
    return {SESSION_HEADER: parsed}


def _user_body(user_id: str) -> bytes:
    return json.dumps({"user_id": user_id}).encode()


def _nothing(answer: Answer) -> None:
    _check(answer, 204)


def _session(answer: Answer) -> Session:
    _check(answer, 200, 201)
    return _read(answer, lambda: _session_of(json.loads(answer.body), answer.header(EXPIRES_HEADER.lower())))


def _found(answer: Answer) -> Found:
    _check(answer, 200)

    def sessions() -> list[Session]:
        return [_session_of(one, one["expires_at"]) for one in json.loads(answer.body)["sessions"]]

    return Found(_read(answer, sessions), answer.sent_at)


def _check(answer: Answer, *expected: int) -> None:
    if answer.status not in expected:
        raise error_of(answer)


def _read(answer: Answer, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, KeyError, TypeError, RecursionError):
        # From None, because the error of the parser has the body.
        raise UnexpectedAnswer(answer.status, {"detail": "The body is not the service's."}) from None


def _session_of(content: dict[str, Any], expires_at: str) -> Session:
    return Session(
        id=content["session_id"],
        started_at=datetime.fromisoformat(content["start_time"]).replace(tzinfo=UTC),
        source=content["source"],
        expires_at=datetime.fromisoformat(expires_at),
        user_id=content.get("user_id"),
        ref=content.get("ref"),
    )
