"""What stands under a session's key: see keyspace.py. The scripts read it by the same rules (`shard.lua`)."""

import logging

import orjson

from service.sessions import Session, is_source

_logger = logging.getLogger(__name__)

_MAX_MICROSECONDS = 2**53  # the limit of Lua's numbers, in the year 2255
ERASED = b"-"  # replaces the value for a minute when an erasure ended the session (erase.lua)


def encode(session: Session) -> bytes:
    """Return the stored value. It has 42 bytes for a guest, which Redis keeps in one allocation."""
    if session.user_id is None:
        return orjson.dumps([session.started_at, session.source])
    return orjson.dumps([session.started_at, session.source, session.user_id, session.user_digest])


def decode(session_id: str, value: bytes | str) -> Session | None:
    """Return the session, or None when an erasure ended it or the value is not one of ours.

    Foreign data is left alone and counts as absent.
    """
    if value == ERASED:
        return None
    try:
        started_at, source, *user = orjson.loads(value)
        if (
            type(started_at) is int
            and 0 <= started_at < _MAX_MICROSECONDS
            and type(source) is str
            and is_source(source)
        ):
            if not user:
                return Session(session_id, started_at, source)
            user_id, digest = user
            if type(user_id) is type(digest) is str:
                return Session(session_id, started_at, source, user_id, digest)
    except (ValueError, TypeError):  # not JSON, or not a list of two or four
        pass
    _logger.error("foreign data under a session key: another program writes to this Redis with our key prefix")
    return None
