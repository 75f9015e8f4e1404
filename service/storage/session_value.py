"""The value of a session's key, as JSON.

The scripts read it by the same rules (shard.lua).
"""

import logging

import orjson

from service.sessions import DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS, Session, is_source
from service.storage.keyspace import MAX_EXACT_INTEGER

_logger = logging.getLogger(__name__)

# After an erasure has ended a session, this value replaces the session's for a minute,
# so that a repeated creation does not store it again (create.lua).
ERASED = b"-"

_GUEST_FIELDS = 2
# Of a guest and of a user, with a lifetime as the last field.
_FIELDS_WITH_TTL = frozenset({3, 5})


def encode(session: Session) -> bytes:
    """Return the value of a session.

    That of a guest has 42 bytes, which Redis keeps in one allocation. A lifetime other
    than the default is the last field, because `session.ttl_seconds` may change before
    the session expires.
    """
    content: list[str | int | None] = [session.started_at, session.source]
    if session.user_id is not None:
        content += (session.user_id, session.user_digest)
    if session.ttl_seconds != DEFAULT_TTL_SECONDS:
        content.append(session.ttl_seconds)
    return orjson.dumps(content)


def decode(session_id: str, value: bytes | str) -> Session | None:
    """Return the session, or None when an erasure has ended it or the value is invalid.

    An invalid value belongs to another program. It is logged and not changed.
    """
    if value == ERASED:
        return None
    try:
        content = orjson.loads(value)
        user_id = digest = None
        ttl_seconds = DEFAULT_TTL_SECONDS
        if type(content) is list and len(content) in _FIELDS_WITH_TTL:
            ttl_seconds = content.pop()
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
            and type(ttl_seconds) is int
            and 0 < ttl_seconds <= MAX_TTL_SECONDS
        ):
            return Session(session_id, started_at, source, user_id, digest, ttl_seconds)
    except (ValueError, TypeError):  # not JSON, or not a list of two to five
        pass
    _logger.error("foreign data under a session key: another program writes with our key prefix")
    return None
