"""Every key in Redis: its name, type, lifetime and content. Nothing else names a key.

Shard n holds the sessions whose id begins with hex digit n, and all that changes with them: their keys share
a hash tag, so they share a slot, a server and one atomic script. `base` is `<prefix>{<tag>}`:

    key                         type      lifetime          holds
    --------------------------  --------  ----------------  -------------------------------------------------------
    base<session id>            string    ttl               [start µs, source] of a guest, else [start µs, source,
                                                            user id, user digest]; "-" for 60 s once erased
    base minutes:<hour>:<src>   counters  ttl + 2 h         by minute of the hour: sessions created in that minute
                                                            and neither ended nor erased
    base day:<day>:<src>        counters  retention + 1 d   created that day, ended that day; then by hour of the day:
                                                            created (24), ended (24), created and not ended (24)
    base sources:<day>          set       retention + 1 d   the sources that have a `day`
    base unique:<day>:<src>     HLL       retention + 1 d   user ids that created a session
    base unions:<last day>      hash      1 h               "<first day> <src or nothing>" → number of unique users
                                                            in that range; "?<token> <number>" → nothing while a merge
                                                            is under way; deleted when a sketch in the range changes
    base scratch:<token>:<n>    HLL       1 min             progress of a merge that takes several calls
    base top:<day>              zset      retention + 1 d   user id → count and error bound (see below), at most
                                                            `analytics.top_users` of them; '' → the greatest count
                                                            of a user who had to leave the list
    base user:<digest>          hash      as last session   session id → nothing
    base erasing:<digest>       hash      as last session   the index of a user whose erasure is not complete
    base erased:<token>         string    5 min             "<state> <sessions>" of an erasure
    base secrets                hash      ttl + 2 h         fingerprint of a user secret → the moment, in s, until
                                                            which sessions under it may live; in shard 0
    base test:<token>:…         as above  10 s              the throw-away keys of a self-test

<hour> and <day> count from the epoch, UTC. Names are joined without a space; it is drawn for reading. The scripts
(`scripts/*.lua`) derive the shard's other keys from the session's, so this table is theirs too; a test holds
every key they write to it. No key is without a lifetime, ever.

Counters are unsigned 32-bit numbers, big-endian, one after the other in one string: `BITFIELD` adds to several at
once and stops at zero, and a reader gets a whole day in one value.

A score in `top` holds two numbers: count · 2^26 + error (Space-Saving: the count is too high by `error` at
most). Doubles are exact to 2^53, so both may reach 2^26 and the order is by count.
"""

from dataclasses import dataclass

from service.counts import HOUR
from service.sessions import SHARD_COUNT, parse_session_id, shard_of

# A single hex digit as hash tag would leave 8 of 16 primaries without a shard. The slots of these tags lie within
# 2 % of a shard's width around 1024·n + 512, the middle of the range that primary n of 16 serves.
SHARD_TAGS = (
    "u0", "qp", "dj", "wz", "d2", "pv", "uh", "iy", "ly", "h9", "uv", "q6", "9s", "qn", "dt", "ha",
)  # fmt: skip

TOP_SCORE_UNIT = 2**26
_THROW_AWAY = "test:"

SCRATCH_SECONDS = 60  # from the last call of a merge
UNIONS_SECONDS = HOUR
RECEIPT_SECONDS = 300  # longer than the retry of any step
# Longer than the retries of a creation: four time-outs of 10 s, the longest that can be configured.
ERASED_SECONDS = 60


def count_lifetime_seconds(retention_days: int) -> int:
    """Return how long counts are kept from their first, which may be at the end of its day or at its beginning."""
    return (retention_days + 1) * 86400


@dataclass(frozen=True)
class Lifetimes:
    """How long what a creation writes is kept, in seconds.

    `minutes` are the counts by minute. They are needed until the last session of their hour has expired.
    """

    session: int
    counts: int
    minutes: int

    @classmethod
    def of(cls, ttl_seconds: int, retention_days: int) -> "Lifetimes":
        """Return the lifetimes under the settings."""
        return cls(ttl_seconds, count_lifetime_seconds(retention_days), ttl_seconds + 2 * HOUR)


class Keyspace:
    """Names keys under one prefix."""

    def __init__(self, prefix: str, within: str = "") -> None:
        """`within` is put in front of every name in a shard: a keyspace of its own in the same hash slots."""
        self._prefix = prefix
        self._bases = tuple(f"{prefix}{{{tag}}}{within}" for tag in SHARD_TAGS)
        self.pattern = f"{prefix}{{*"

    def throw_away(self, token: str) -> "Keyspace":
        """Return the keyspace of a self-test. Its keys live for seconds."""
        return Keyspace(self._prefix, f"{_THROW_AWAY}{token}:")

    @staticmethod
    def is_throw_away(key: str) -> bool:
        """Tell whether a key belongs to a self-test."""
        return key.partition("}")[2].startswith(_THROW_AWAY)

    def base(self, shard: int) -> str:
        """Return what every key of a shard begins with."""
        return self._bases[shard]

    def session(self, session_id: str) -> str:
        """Return the key of a session; `session_id` must come from `parse_session_id` or `SessionFactory`."""
        return self._bases[shard_of(session_id)] + session_id

    def user(self, user_digest: str) -> str:
        """Return the key of a user's index, in the shard that the digest's first digit names."""
        return f"{self._bases[shard_of(user_digest)]}user:{user_digest}"

    @staticmethod
    def user_indexes(user_digest: str) -> tuple[str, str]:
        """Return the names, within their shard, of a user's index and of the one that an erasure has renamed."""
        return f"user:{user_digest}", f"erasing:{user_digest}"

    @property
    def secrets(self) -> str:
        """The key of the fingerprints of user secrets."""
        return self._bases[0] + "secrets"

    def day(self, shard: int, day: int, source: str) -> str:
        """Return the key of a day's counters."""
        return f"{self._bases[shard]}day:{day}:{source}"

    def minutes(self, shard: int, hour: int, source: str) -> str:
        """Return the key of an hour's counters by minute."""
        return f"{self._bases[shard]}minutes:{hour}:{source}"

    def sources(self, shard: int, day: int) -> str:
        """Return the key of the sources that were counted on a day."""
        return f"{self._bases[shard]}sources:{day}"

    def unions(self, shard: int, last_day: int) -> str:
        """Return the key of the remembered numbers of unique users in ranges that end on a day."""
        return f"{self._bases[shard]}unions:{last_day}"

    def scratch(self, shard: int, token: str, number: int) -> str:
        """Return the key of the progress of a merge."""
        return f"{self._bases[shard]}scratch:{token}:{number}"

    def top(self, shard: int, day: int) -> str:
        """Return the key of a day's top list."""
        return f"{self._bases[shard]}top:{day}"

    def id_in(self, key: str) -> str | None:
        """Return the session id that a key is made of, None when it is another's key."""
        session_id = parse_session_id(key[-36:])
        return session_id if session_id and key == self.session(session_id) else None

    def is_user_index(self, key: str) -> bool:
        """Tell whether a key is of a user's index."""
        return key.rpartition("}")[2].startswith("user:")

    def is_left_by_operators(self, key: str) -> bool:
        """Tell whether a key is left by a start, a self-test, reading counts or an erasure, without any session."""
        names = ("unions:", "erased:")
        return key == self.secrets or self.is_throw_away(key) or key.rpartition("}")[2].startswith(names)


assert len(SHARD_TAGS) == SHARD_COUNT  # noqa: S101 - a slip in the table must not start
