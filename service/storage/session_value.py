"""The value of a session's key, and the values that replace it.

A session is a JSON array: start in µs, source, and for a user the user id and its
digest. The lifetime in seconds follows, unless it is 86,400 and the user never changed.
The number of changes follows, unless it is 0. The scripts read it by the same rules
(shard.lua).
"""

import logging

import orjson

from service.sessions import DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS, MAX_USER_CHANGES, Session, is_source
from service.storage.keyspace import MAX_EXACT_INTEGER

_logger = logging.getLogger(__name__)

# Replaces the value of an ended session for a minute, so that a late repetition of its
# creation does not store it again (create.lua, set_user.lua).
ERASED = b"-"
# Fences off a successor for a minute: it must no longer be stored under this key.
FENCED = b"!"
# Before the key of the session's successor. The session is no longer live.
POINTER = b">"
# Before the key of the successor, a line feed and the value of a session that is being
# replaced and still live. Only in a cluster.
PENDING = b"?"

# Most sessions have these and no numbers after them.
_GUEST_FIELDS, _USER_FIELDS = 2, 4


def encode(session: Session) -> bytes:
    """Return the value of a session.

    That of a guest has 42 bytes, which Redis keeps in one allocation. The lifetime is
    stored because `session.ttl_seconds` may change before the session expires.
    """
    content: list[str | int | None] = [session.started_at, session.source]
    if session.user_id is not None:
        content += (session.user_id, session.user_digest)
    if session.ttl_seconds != DEFAULT_TTL_SECONDS or session.user_changes:
        content.append(session.ttl_seconds)
    if session.user_changes:
        content.append(session.user_changes)
    return orjson.dumps(content)


def decode(session_id: str, value: bytes) -> Session | None:
    """Return the session, or None when it has ended or was replaced, or is not ours.

    An invalid value belongs to another program. It is logged and not changed.
    """
    session = _session_in(session_id, value)
    if session is None and not is_dead(value):
        if value[:1] == PENDING:
            session = _session_in(session_id, value.partition(b"\n")[2])
        if session is None:
            _logger.error("foreign data under a session key: another program writes with our key prefix")
    return session


def is_dead(value: bytes) -> bool:
    """Return whether a value of ours replaces a session that is no longer live."""
    return value[:1] == POINTER or value in {ERASED, FENCED}


def successor_key(value: bytes) -> str:
    """Return the key in a pointer or in a pending value."""
    return value[1:].partition(b"\n")[0].decode(errors="replace")


def _session_in(session_id: str, value: bytes) -> Session | None:
    user_id = digest = None
    ttl_seconds, changes = DEFAULT_TTL_SECONDS, 0
    try:
        content = orjson.loads(value)
        if type(content) is not list:
            return None
        if len(content) == _GUEST_FIELDS:
            started_at, source = content
        elif len(content) == _USER_FIELDS and type(content[2]) is str:
            started_at, source, user_id, digest = content
        else:
            started_at, source, *rest = content
            if rest and type(rest[0]) is str:
                user_id, digest, *rest = rest
            ttl_seconds, *last = rest
            if last:
                (changes,) = last
                if changes == 0:
                    return None
    except (ValueError, TypeError):  # not JSON, or too few fields
        return None
    if (
        type(started_at) is int
        and 0 <= started_at < MAX_EXACT_INTEGER  # in the year 2255
        and type(source) is str
        and is_source(source)
        and type(user_id) is type(digest)
        and type(ttl_seconds) is type(changes) is int
        and 0 < ttl_seconds <= MAX_TTL_SECONDS
        and 0 <= changes <= MAX_USER_CHANGES
    ):
        return Session(session_id, started_at, source, user_id, digest, ttl_seconds, changes)
    return None
