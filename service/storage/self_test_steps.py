"""The commands of the self-test, with the replies that they must have."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.counts import DAY, MINUTE
from service.sessions import SECOND_US, Session
from service.storage.client import Command, Word
from service.storage.keyspace import Keyspace, guard_key
from service.storage.script_files import script_digest
from service.storage.script_replies import ErasureState
from service.storage.session_value import ERASED, encode

TTL_SECONDS = 10


@dataclass(frozen=True)
class Step:
    """One command of the test.

    `expected` is the reply, and None accepts every reply that is not an error.
    """

    name: str
    command: Command
    expected: Any = None


def steps_of(keyspace: Keyspace, shards: Sequence[int]) -> Iterator[Step]:
    """Yield the commands in their order. Each script runs at least once.

    A command has keys of the first and of the last of the shards.
    """
    now = time.time()
    day, minute, source, digest = int(now) // DAY, int(now) // MINUTE, "self-test", f"{shards[-1]:x}" * 24
    rest, started_at = f"{secrets.token_hex(4)[1:]}-0000-4000-8000-00000000000", int(now * SECOND_US)
    guest = Session(f"{shards[0]:x}{rest}0", started_at, source)
    user = Session(f"{shards[-1]:x}{rest}1", started_at, source, source, digest)
    keys = [keyspace.session(guest.id), keyspace.session(user.id)]
    values = [encode(guest), encode(user)]
    lifetimes = (TTL_SECONDS, TTL_SECONDS, TTL_SECONDS)
    groups: tuple[Word, ...] = (source, minute, 1, 0, source, minute, 1, 1)
    base = keyspace.base(shards[-1])
    union = (1, "", day, day, source, 1, 1, day, day, 1, source)
    index, erasing = keyspace.user_indexes(digest)

    def script(name: str, keys: Sequence[str], *arguments: Word) -> Command:
        return ("EVALSHA", script_digest(name), len(keys) + 1, *keys, guard_key(keys[-1]), *arguments)

    yield Step("a command", script("self_test", [keyspace.base(shards[0])], TTL_SECONDS))
    creation = script("create", keys, *lifetimes, 10, day + 1, 2, 2, *groups, *values, source, digest)
    yield Step("creating sessions", creation, [1, 1])
    yield Step("the command mget", ("MGET", *keys), values)
    yield Step("counting users", script("union", [base], "token", TTL_SECONDS, TTL_SECONDS, *union), [1])
    yield Step("finding a user", script("user", [base], index, "0", 10), [b"0", [user.id.encode(), values[1]]])
    yield Step("counting a user's sessions", script("created", [base], source, day, day), [1, 1])
    erasure = script("erase", [base], "token", 10, int(now), *lifetimes, source, digest)
    yield Step("erasing a user", erasure, [ErasureState.DONE, 1])
    yield Step("finding an erased user", script("user", [base], erasing, "0", 10), [b"0", []])
    secret = script("secrets", [f"{base}secrets"], int(now), "secret", TTL_SECONDS)
    yield Step("recording a secret", secret, [b"secret"])
    yield Step("repairing an index", script("repair", keys))
    yield Step("ending sessions", script("end", keys, int(now), TTL_SECONDS, 2), [source.encode(), b""])
    yield Step("reading after the end", ("MGET", *keys), [None, ERASED])
    yield Step("the command ping", ("PING",))
