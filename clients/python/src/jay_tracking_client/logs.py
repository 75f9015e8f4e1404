"""The session ref in log records, for `logging` and structlog.

The middleware sets the ref for the time of a request. The session id is never logged.
"""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jay_tracking_client.sessions import Visit

_ref: ContextVar[str | None] = ContextVar("jay_session_ref", default=None)


def current_ref() -> str | None:
    """Return the session ref of the request in progress."""
    return _ref.get()


@contextmanager
def ref_of(visit: Visit) -> Iterator[None]:
    """Make the visit's ref the current one within the block."""
    token = _ref.set(visit.ref)
    try:
        yield
    finally:
        _ref.reset(token)


class SessionRefFilter(logging.Filter):
    """Sets `session_ref` of each record, `-` without a session.

    Add it to a handler, and `%(session_ref)s` to the handler's format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.session_ref = _ref.get() or "-"
        return True


def add_session_ref(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add `session_ref` to an event of structlog, if there is a session."""
    if (ref := _ref.get()) is not None:
        event["session_ref"] = ref
    return event
