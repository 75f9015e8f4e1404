"""Tracking sessions: the session, its id, its factory, contracts of stores.

There is no I/O here. `service/storage/session_store.py` implements `SessionBatchStore`.
`session_batches.py` and `session_queues.py` beside it implement `SessionStore`.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol

from service.counts import DAY
from service.deferred import Deferred
from service.digests import UserDigest

SHARD_COUNT = 16
MAX_USER_ID_LENGTH = 128
MAX_SOURCE_LENGTH = 64
SECOND_US = 1_000_000
DEFAULT_TTL_SECONDS = DAY
MAX_TTL_SECONDS = 400 * DAY
# Each change leaves a pointer in Redis from the old id, which can still withdraw the
# consent. The last change is for the withdrawal.
MAX_USER_CHANGES = 100
# The new sessions of guests share a first digit for this time, so that a batch has few
# shards. A batch of a busy worker takes 1 to 2 ms, so a longer time would save nothing.
SHARED_DIGIT_US = 2000

SESSION_ID_PATTERN = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
SESSION_ID_LENGTH = 36
_SESSION_ID = re.compile(SESSION_ID_PATTERN)
# Lua reads this class of characters the same way (storage/script_files.py).
SOURCE_CHARACTERS = "A-Za-z0-9._:/-"
SOURCE_PATTERN = f"[{SOURCE_CHARACTERS}]{{1,{MAX_SOURCE_LENGTH}}}"
_SOURCE = re.compile(SOURCE_PATTERN)


class Session(NamedTuple):
    """One visitor's session.

    A frozen dataclass takes 1 µs longer to make.

    `started_at` is in microseconds since the epoch, UTC. A guest has neither `user_id`
    nor `user_digest`, the keyed hash under which the sessions of a user are found.
    `ttl_seconds` is the lifetime that the session was created with, and `user_changes`
    the number of times that a visit got another user id or lost it.
    """

    id: str
    started_at: int
    source: str
    user_id: str | None = None
    user_digest: str | None = None
    ttl_seconds: int = DEFAULT_TTL_SECONDS
    user_changes: int = 0

    @property
    def start_time(self) -> str:
        """The start in UTC as ISO 8601, with six digits of microseconds and no zone.

        Source: spec, "start_time": "2023-01-15T14:30:24.123456".
        """
        minute, microseconds = divmod(self.started_at, 60_000_000)
        digits = str(100_000_000 + microseconds)  # faster than a format with a width
        return f"{_format_minute(minute)}:{digits[1:3]}.{digits[3:]}"

    @property
    def expires_at(self) -> str:
        """The end of the lifetime in RFC 3339, rounded down to the second.

        The store's own lifetime begins some milliseconds after the start, so a session
        is live until this time.
        """
        minute, second = divmod(self.started_at // SECOND_US + self.ttl_seconds, 60)
        return f"{_format_minute(minute)}:{_TWO_DIGITS[second]}Z"

    def seconds_left(self, now: float) -> int:
        """Return the whole seconds until the session expires, at least 1."""
        return max(1, self.started_at // SECOND_US + self.ttl_seconds - int(now))


_TWO_DIGITS = [f"{number:02}" for number in range(60)]


@lru_cache(maxsize=4096)
def _format_minute(minute: int) -> str:
    """Return a minute since the epoch as ISO 8601.

    Live sessions start in 1,440 different minutes and expire in as many others. Without
    the cache, datetime would take 1 µs of the 30 µs of a GET.
    """
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M")


def _random_id() -> str:
    """Return a random UUID of version 4 (RFC 9562, section 5.4).

    `uuid.uuid4` takes three times as long, because it makes an object.
    """
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def parse_session_id(value: str) -> str | None:
    """Return the id in lower case, or None if it is not a UUID in the 8-4-4-4-12 form.

    Only an id in this form, in lower case, may become part of a Redis key.
    """
    return value.lower() if _SESSION_ID.fullmatch(value) else None


@lru_cache(maxsize=1024)
def is_source(value: str) -> bool:
    """Return whether a string is a valid source.

    Results are cached, because a deployment has only a handful of sources.
    """
    return _SOURCE.fullmatch(value) is not None


def shard_of(session_id: str) -> int:
    """Return the shard, 0 to 15: the first hex digit of the id."""
    return int(session_id[0], 16)


class SessionStore(Protocol):
    """Where sessions are kept for their lifetime, and counted.

    Every method is atomic and idempotent: called again after a lost reply, it returns
    the same result and counts once. All raise Overloaded when too many requests wait,
    and StoreUnavailable when the store does not answer, so that an outage never looks
    like an expired session. A list of candidates has at least one session id.
    """

    def create(self, session: Session) -> Deferred[bool]:
        """Store a new session and count it.

        Returns False if its id is taken, which is a bug.
        """

    def find(self, candidates: Sequence[str]) -> Deferred[Session | None]:
        """Return the session of the first candidate that is live, or None."""

    def end(self, candidates: Sequence[str]) -> Deferred[Sequence[str]]:
        """End every live candidate. Returns the sources of the ended sessions.

        A candidate that was replaced ends its successor.
        """

    def create_once(self, session: Session, request_hash: str) -> Deferred[Session | None]:
        """Store a new session, and remember its id under the hash for its lifetime.

        Returns the session that an earlier call with this hash has stored, or None when
        that session is no longer live.
        """


class SessionBatchStore(Protocol):
    """The operations of `SessionStore` on many sessions at once.

    The methods raise the same errors.
    """

    async def create_many(self, sessions: Sequence[Session]) -> Sequence[bool]:
        """Store new sessions and count them.

        Returns False for each session whose id is taken.
        """

    async def find_many(self, requests: Sequence[Sequence[str]]) -> Sequence[Session | None]:
        """Return for each request the session of the first live candidate, or None."""

    async def find_each(self, session_ids: Sequence[str]) -> Mapping[str, Session]:
        """Return the live sessions by id. There is at least one session id."""

    async def end_many(self, requests: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
        """End every live candidate.

        Returns, for each request, the sources of the ended sessions.
        """


class SessionFactory:
    """Makes new sessions. An id that a client sends is never used."""

    def __init__(
        self,
        user_digest: UserDigest,
        ttl_seconds: int = DEFAULT_TTL_SECONDS,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._user_digest = user_digest
        self._ttl_seconds = ttl_seconds
        self._clock_ns = clock_ns
        self._period = -1  # the number of the current period of SHARED_DIGIT_US
        self._digit_of_guests = ""

    def new(self, source: str, user_id: str | None = None) -> Session:
        """Return a session that starts now, with a random UUID of version 4.

        All ids of one user begin with the first hex digit of the user's digest. So all
        sessions of a user are in one shard, with the user's index. Guests whose
        sessions start within the same 2 ms share a random first digit, so that a batch
        has few shards. 118 random bits remain.
        """
        session_id, started_at = _random_id(), self._clock_ns() // 1000
        if user_id is None:
            if (period := started_at // SHARED_DIGIT_US) != self._period:
                self._period, self._digit_of_guests = period, session_id[0]
            return Session(self._digit_of_guests + session_id[1:], started_at, source, ttl_seconds=self._ttl_seconds)
        digest = self._user_digest(user_id)
        return Session(digest[0] + session_id[1:], started_at, source, user_id, digest, self._ttl_seconds)

    def new_once(self, source: str, user_id: str | None, *words: str) -> tuple[Session, str]:
        """Return a new session, and the hash under which its request is remembered.

        `words` identify the request of a user or a guest. A guest's session is in the
        hash's shard.
        """
        session = self.new(source, user_id)
        request_hash = self._user_digest.of_request(user_id, *words)
        shard = request_hash if session.user_digest is None else session.user_digest
        return session._replace(id=shard[0] + session.id[1:]), request_hash

    def successor(self, session: Session, user_id: str | None) -> Session:
        """Return the session with another user, or with none, and a new random id.

        A session that loses its user stays in its shard.
        """
        session_id, changes = _random_id(), session.user_changes + 1
        digest = None if user_id is None else self._user_digest(user_id)
        shard = digest or session.id
        return session._replace(
            id=shard[0] + session_id[1:], user_id=user_id, user_digest=digest, user_changes=changes
        )
