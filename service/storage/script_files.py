"""Loads the Lua scripts and puts the constants of Python in place of their names.

A script uses the constants by name, for example `day * DAY`. Redis receives the number,
which costs a script nothing, and no value is written in two languages.
"""

import hashlib
import re
from functools import cache
from importlib import resources

from service.counts import DAY, HOUR, MAX_RETENTION_DAYS, MINUTE
from service.sessions import (
    MAX_SOURCE_LENGTH,
    MAX_TTL_SECONDS,
    MAX_USER_CHANGES,
    SECOND_US,
    SESSION_ID_LENGTH,
    SOURCE_CHARACTERS,
)
from service.storage import counters
from service.storage.keyspace import MAX_EXACT_INTEGER, TOP_SCORE_UNIT
from service.storage.script_replies import ErasureState, UnionReply
from service.storage.session_value import ERASED, FENCED, PENDING, POINTER

# These have the functions of creating.lua too.
_CREATIONS = ("create", "create_once", "set_user")
NAMES = (*_CREATIONS, "created", "end", "erase", "mark", "repair", "secrets", "self_test", "union", "user")

_CONSTANTS: dict[str, int | str] = {
    "DAY": DAY,
    "HOUR": HOUR,
    "MINUTE": MINUTE,
    "SECOND_US": SECOND_US,
    # A range may begin on the oldest day that is kept. A machine whose clock is ahead
    # may have counted sessions on the next day.
    "MAX_DAYS": MAX_RETENTION_DAYS + 2,
    "MAX_EXACT_INTEGER": MAX_EXACT_INTEGER,
    "SESSION_ID_LENGTH": SESSION_ID_LENGTH,
    "MAX_SOURCE_LENGTH": MAX_SOURCE_LENGTH,
    "MAX_TTL_SECONDS": MAX_TTL_SECONDS,
    "SOURCE_PATTERN": f"^[{SOURCE_CHARACTERS}]+$",
    "MAX_USER_CHANGES": MAX_USER_CHANGES,
    "ERASED": ERASED.decode(),
    "FENCED": FENCED.decode(),
    "PENDING": PENDING.decode(),
    "POINTER": POINTER.decode(),
    "TOP_SCORE_UNIT": TOP_SCORE_UNIT,
    "ONE_SESSION": str(TOP_SCORE_UNIT),
    "CREATED_IN_DAY": f"#{counters.CREATED_IN_DAY}",
    "ENDED_IN_DAY": f"#{counters.ENDED_IN_DAY}",
    "ENDED_OF_DAY": f"#{counters.ENDED_OF_DAY}",
    "ENDED_OF_EARLIER_DAYS": f"#{counters.ENDED_OF_EARLIER_DAYS}",
    "CREATED_IN_HOUR": counters.CREATED_IN_HOUR,
    "ENDED_IN_HOUR": counters.ENDED_IN_HOUR,
    "LIVE_IN_HOUR": counters.LIVE_IN_HOUR,
    "CONSENT_GIVEN_IN_HOUR": counters.CONSENT_GIVEN_IN_HOUR,
    "CONSENT_WITHDRAWN_IN_HOUR": counters.CONSENT_WITHDRAWN_IN_HOUR,
    **{f"ERASURE_{state.name}": int(state) for state in ErasureState},
    **{f"UNION_{reply.name}": int(reply) for reply in UnionReply},
}
_CONSTANT = re.compile(rf"\b(?:{'|'.join(_CONSTANTS)})\b")


# Dragonfly reads its flags from the first line. For others, it is a comment.
_FLAGS = "--!df flags=allow-undeclared-keys"


@cache
def script_text(name: str) -> str:
    """Return `scripts/<name>.lua` as it is sent to Redis.

    The files that it shares with others are in front of it, because a script cannot
    load another.
    """
    folder = resources.files("service.storage") / "scripts"
    shared = ("shard", "creating") if name in _CREATIONS else ("shard",)
    parts = [(folder / f"{part}.lua").read_text("utf-8") for part in (*shared, name)]
    source = "\n".join((_FLAGS, *parts))
    return _CONSTANT.sub(lambda found: _literal(_CONSTANTS[found[0]]), source)


@cache
def script_digest(name: str) -> str:
    """Return the name of a script in EVALSHA."""
    return hashlib.sha1(script_text(name).encode(), usedforsecurity=False).hexdigest()


def script_with(digest: object) -> str:
    """Return the text of the script with a digest."""
    return next(script_text(name) for name in NAMES if script_digest(name) == digest)


def _literal(value: int | str) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)
