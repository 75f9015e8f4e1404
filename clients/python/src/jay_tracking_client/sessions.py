"""A tracking session as the service returns it."""

import re
from dataclasses import dataclass, field
from datetime import datetime

SESSION_ID_PATTERN = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_SESSION_ID = re.compile(SESSION_ID_PATTERN)


@dataclass(frozen=True, slots=True)
class Session:
    """One visitor's session.

    The ids are not in the representation. `ref` names the session in logs, and only
    lookups return it. `user_id` is None for a guest. Both times are in UTC.
    """

    id: str = field(repr=False)
    started_at: datetime
    source: str
    expires_at: datetime
    user_id: str | None = field(default=None, repr=False)
    ref: str | None = None


def parse_session_id(value: str) -> str | None:
    """Return a session id in lower case, or None if the service would ignore it."""
    return value.lower() if _SESSION_ID.fullmatch(value) else None
