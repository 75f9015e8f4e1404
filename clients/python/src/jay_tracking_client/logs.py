"""The ref of the visitor's session in log records. It never is the session id.

The middleware sets the ref for the time of a request. A generator that a WSGI
application returns runs after that time.
"""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jay_tracking_client.sessions import Session

_SESSION_REF: ContextVar[str | None] = ContextVar("jay_session_ref", default=None)


def session_ref() -> str | None:
    """Return the ref of the visitor's session, or None without a live session."""
    return _SESSION_REF.get()


@contextmanager
def logged_session(session: Session | None) -> Iterator[None]:
    """Put the ref of a session into the log records of a block."""
    token = _SESSION_REF.set(session.ref if session else None)
    try:
        yield
    finally:
        _SESSION_REF.reset(token)


class SessionRefFilter(logging.Filter):
    """Sets `session_ref` of each record, to `-` without a live session.

    Add it to a handler: a filter of a logger does not see the records of its children.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the ref, and let every record pass."""
        record.session_ref = session_ref() or "-"
        return True


def add_session_ref(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add `session_ref` to an event of structlog when there is a live session."""
    if ref := session_ref():
        event["session_ref"] = ref
    return event
