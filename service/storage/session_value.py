"""The value of a session's key, as JSON.

The scripts read it by the same rules (shard.lua).
"""

import logging

import orjson

from service.sessions import Session, is_source
from service.storage.keyspace import MAX_EXACT_INTEGER

_logger = logging.getLogger(__name__)

# After an erasure has ended a session, this value replaces the session's for a minute,
# so that a repeated creation does not store it again (create.lua).
ERASED = b"-"

_GUEST_FIELDS = 2


def encode(session: Session) -> bytes:
    """Return the value of a session.

    That of a guest has 42 bytes, which Redis keeps in one allocation.
    """
    if session.user_id is None:
        return orjson.dumps([session.started_at, session.source])
    return orjson.dumps([session.started_at, session.source, session.user_id, session.user_digest])


def decode(session_id: str, value: bytes | str) -> Session | None:
    """Return the session, or None when an erasure has ended it or the value is invalid.

    An invalid value belongs to another program. It is logged and not changed.
    """
    if value == ERASED:
        return None
    try:
        content = orjson.loads(value)
        user_id = digest = None
        if len(content) == _GUEST_FIELDS:
            started_at, source = content
        else:
            started_at, source, user_id, digest = content
        if (
            type(started_at) is int
            and 0 <= started_at < MAX_EXACT_INTEGER  # in the year 2255
            and type(source) is str
            and is_source(source)
            and (len(content) == _GUEST_FIELDS or type(user_id) is type(digest) is str)
        ):
            return Session(session_id, started_at, source, user_id, digest)
    except (ValueError, TypeError):  # not JSON, or not a list of two or four
        pass
    _logger.error("foreign data under a session key: another program writes with our key prefix")
    return None
