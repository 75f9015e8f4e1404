"""All keys in Redis: their names, types, lifetimes and contents.

No other module of the service names a key, apart from the scripts.

Shard n holds the sessions whose id begins with hex digit n, and every key that changes
with them. All keys of a shard have the same hash tag. So they are in one hash slot, on
one server, and one script changes them in one atomic step. `base` is `<prefix>{<tag>}`:

    key                        type      lifetime         contents
    -------------------------  --------  ---------------  ------------------------------
    base<session id>           string    ttl              the session, or the key of its
                                                          successor. "-" or "!" for 60 s
                                                          (session_value.py)
    base minutes:<hour>:<src>  counters  ttl + 2 h        live sessions by the minute in
                                                          which they were created
    base day:<day>:<src>       counters  retention + 1 d  sessions created, and ended.
                                                          By hour: created (24), ended
                                                          (24), created and live (24),
                                                          consents given (24) and
                                                          withdrawn (24). Then ended of
                                                          the day and of earlier days
    base sources:<day>         set       retention + 1 d  sources with a `day` key
    base unique:<day>:<src>    HLL       retention + 1 d  users of sessions
    base unions:<last day>     hash      1 h              "<first day> <src or nothing>"
                                                          → number of unique users.
                                                          "?<token> <number>" → nothing
                                                          while a merge is in progress.
                                                          A changed sketch deletes it
    base scratch:<token>:<n>   HLL       1 min            a merge in several calls
    base top:<day>             zset      retention + 1 d  user id → count and error
                                                          bound, `analytics.top_users`
                                                          at most. "" → the greatest
                                                          count of a replaced user
    base user:<digest>         hash      as last session  session id → nothing
    base erasing:<digest>      hash      as last session  a user's index that an erasure
                                                          has renamed
    base erased:<token>        string    5 min            "<state> <sessions>" of an
                                                          erasure
    base secrets               hash      ttl + 2 h        fingerprint of a user secret →
                                                          the moment, in s, until which
                                                          its sessions may live. Only
                                                          in shard 0
    base test:<token>:…        as above  10 s             temporary keys of a self-test
    base request:<hash>        string    ttl              id of the session of a request
                                                          with an idempotency key
    base mark                  string    10 s             "". The last write of a batch
                                                          whose durability is awaited
    base guard                 -         -                never exists. A script that
                                                          names it fails while its slot
                                                          moves to another server

<hour> and <day> count from the epoch, UTC. A live session has neither expired nor
ended. The space after `base` is not part of a key. The scripts have the same names at
the head of `shard.lua`, and a test compares every key that they write with this table.
Every key has a lifetime.

Counters are unsigned 32-bit numbers in one string (`counters.py`). `BITFIELD` adds to
several at once and stops at zero. A reader gets a whole day in one value.

A score in `top` is count · 2^26 + error bound. The count is too high by the error bound
at most (Space-Saving). Doubles are exact up to 2^53, so both numbers may reach 2^26,
and the order of the scores is the order of the counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.counts import DAY, HOUR
from service.sessions import SECOND_US, SESSION_ID_LENGTH, SHARD_COUNT, Session, parse_session_id, shard_of

# A hex digit as hash tag would leave 8 of 16 primaries without a shard. The slot of
# each of these tags is within 2 % of a shard's width around 1024·n + 512, the middle of
# the slots that primary n of 16 serves.
SHARD_TAGS = (
    "u0", "qp", "dj", "wz", "d2", "pv", "uh", "iy", "ly", "h9", "uv", "q6", "9s", "qn", "dt", "ha",
)  # fmt: skip

# Doubles, which are the numbers of Lua and the scores of Redis, are exact up to 2^53.
MAX_EXACT_INTEGER = 2**53
TOP_SCORE_UNIT = 2**26
_TEMPORARY = "test:"

# Counted from the last call of a merge.
SCRATCH_SECONDS = 60
UNIONS_SECONDS = HOUR
# Longer than the retries of any call of an erasure.
RECEIPT_SECONDS = 300
# Longer than the retries of a creation: four timeouts of 10 s, the longest setting.
ERASED_SECONDS = 60
MARK_SECONDS = 10
SECRETS_SHARD = 0


def count_lifetime_seconds(retention_days: int) -> int:
    """Return the lifetime of a day's counts.

    It begins with the first count, which may be at any time of the day. So it is one
    day longer than `retention_days`. When a session gets a user, the first count in the
    user's shard may be later than the day, by up to the lifetime of the session.
    """
    return (retention_days + 1) * DAY


@dataclass(frozen=True)
class Lifetimes:
    """The lifetimes of the keys that a creation writes, in seconds.

    `minutes` is the lifetime of the counts by minute. They are needed until the last
    session of their hour has expired.
    """

    session: int
    counts: int
    minutes: int

    @classmethod
    def of(cls, ttl_seconds: int, retention_days: int) -> "Lifetimes":
        """Return the lifetimes under the settings."""
        return cls(ttl_seconds, count_lifetime_seconds(retention_days), ttl_seconds + 2 * HOUR)


def mark_key(key: str) -> str:
    """Return the key of the mark in the shard of another key."""
    return f"{key.partition('}')[0]}}}mark"


def guard_key(key: str) -> str:
    """Return the key that never exists in the shard of another key."""
    return f"{key.partition('}')[0]}}}guard"


class Keyspace:
    """Makes key names that begin with one prefix."""

    def __init__(self, prefix: str, within: str = "") -> None:
        """`within` is inserted after the base of each shard, for a separate keyspace.

        Its keys are in the same hash slots.
        """
        self._prefix = prefix
        self._bases = tuple(f"{prefix}{{{tag}}}{within}" for tag in SHARD_TAGS)
        self._base_by_digit = {f"{shard:x}": base for shard, base in enumerate(self._bases)}
        self.pattern = f"{prefix}{{*"

    def temporary(self, token: str) -> "Keyspace":
        """Return the keyspace of a self-test. Its keys have a lifetime of seconds."""
        return Keyspace(self._prefix, f"{_TEMPORARY}{token}:")

    @staticmethod
    def is_temporary(key: str) -> bool:
        """Return whether a key belongs to a self-test."""
        return key.partition("}")[2].startswith(_TEMPORARY)

    def base(self, shard: int) -> str:
        """Return the part that all keys of a shard begin with."""
        return self._bases[shard]

    def session(self, session_id: str) -> str:
        """Return the key of a session.

        `session_id` must come from `parse_session_id` or `SessionFactory`.
        """
        return self._base_by_digit[session_id[0]] + session_id

    def request(self, session_id: str, request_hash: str) -> str:
        """Return the key of a request, in the shard of the session."""
        return f"{self._base_by_digit[session_id[0]]}request:{request_hash}"

    def user(self, user_digest: str) -> str:
        """Return the key of a user's index. The digest's first digit is the shard."""
        return f"{self._bases[shard_of(user_digest)]}user:{user_digest}"

    @staticmethod
    def user_indexes(user_digest: str) -> tuple[str, str]:
        """Return the names of a user's index, before and after an erasure renames it.

        They are names within the shard, without its base.
        """
        return f"user:{user_digest}", f"erasing:{user_digest}"

    @property
    def secrets(self) -> str:
        """The key of the fingerprints of user secrets."""
        return self._bases[SECRETS_SHARD] + "secrets"

    def day(self, shard: int, day: int, source: str) -> str:
        """Return the key of a day's counters."""
        return f"{self._bases[shard]}day:{day}:{source}"

    def minutes(self, shard: int, hour: int, source: str) -> str:
        """Return the key of an hour's counters by minute."""
        return f"{self._bases[shard]}minutes:{hour}:{source}"

    def sources(self, shard: int, day: int) -> str:
        """Return the key of a day's sources."""
        return f"{self._bases[shard]}sources:{day}"

    def sketch(self, shard: int, day: int, source: str) -> str:
        """Return the key of a day's sketch of unique users."""
        return f"{self._bases[shard]}unique:{day}:{source}"

    def unions(self, shard: int, last_day: int) -> str:
        """Return the key of the remembered unique users in ranges that end on a day."""
        return f"{self._bases[shard]}unions:{last_day}"

    def scratch(self, shard: int, token: str, number: int) -> str:
        """Return the key of a merge in progress."""
        return f"{self._bases[shard]}scratch:{token}:{number}"

    def top(self, shard: int, day: int) -> str:
        """Return the key of a day's top list."""
        return f"{self._bases[shard]}top:{day}"

    def creation_keys(self, group: Sequence[Session], tomorrow: int) -> Iterator[str]:
        """Yield the keys that change with new sessions, apart from the sessions' own.

        The sessions share a shard, a source and a minute.
        """
        first = group[0]
        base, moment = self._base_by_digit[first.id[0]], first.started_at // SECOND_US
        day = moment // DAY
        yield f"{base}minutes:{moment // HOUR}:{first.source}"
        yield f"{base}day:{day}:{first.source}"
        yield f"{base}sources:{day}"
        digests = [session.user_digest for session in group if session.user_digest is not None]
        if digests:
            yield f"{base}top:{day}"
            yield f"{base}unique:{day}:{first.source}"
            yield from (f"{base}unions:{last_day}" for last_day in range(day, tomorrow + 1))
            yield from (f"{base}user:{digest}" for digest in digests)

    def id_in(self, key: str) -> str | None:
        """Return the session id in a session's key, and None for any other key."""
        session_id = parse_session_id(key[-SESSION_ID_LENGTH:])
        return session_id if session_id and key == self.session(session_id) else None

    def is_user_index(self, key: str) -> bool:
        """Return whether a key holds a user's index."""
        return key.rpartition("}")[2].startswith("user:")

    def exists_without_sessions(self, key: str) -> bool:
        """Return whether a key may exist although no session was ever created.

        Starts, self-tests, reads of counts and erasures write such keys.
        """
        names = ("unions:", "erased:", "mark")
        return key == self.secrets or self.is_temporary(key) or key.rpartition("}")[2].startswith(names)


assert len(SHARD_TAGS) == SHARD_COUNT  # noqa: S101 - an incomplete table must not start
