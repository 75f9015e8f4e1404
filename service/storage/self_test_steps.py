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
class SelfTestStep:
    """One command of the test.

    `expected` is the reply, and None accepts every reply that is not an error.
    `otherwise` is the reason why another reply is a problem.
    """

    name: str
    command: Command
    expected: Any = None
    otherwise: str = "the reply is not the expected one"


_SOURCE, _LIFETIMES = "self-test", (TTL_SECONDS, TTL_SECONDS, TTL_SECONDS)


def steps_of(keyspace: Keyspace, shards: Sequence[int]) -> Iterator[SelfTestStep]:
    """Yield the commands in their order. Each script runs at least once.

    A command has keys of the first and of the last of the shards.
    """
    now, digest = time.time(), f"{shards[-1]:x}" * 24
    rest, started_at = f"{secrets.token_hex(4)[1:]}-0000-4000-8000-00000000000", int(now * SECOND_US)
    guest = Session(f"{shards[0]:x}{rest}0", started_at, _SOURCE)
    user = Session(f"{shards[-1]:x}{rest}1", started_at, _SOURCE, _SOURCE, digest)
    once = Session(f"{shards[-1]:x}{rest}2", started_at, _SOURCE)
    yield SelfTestStep("a command", _script("self_test", [keyspace.base(shards[0])], TTL_SECONDS))
    yield from _creations(keyspace, guest, user, once)
    yield from _counts_and_users(keyspace, shards[-1], user)
    keys = [keyspace.session(guest.id), keyspace.session(user.id)]
    yield SelfTestStep("repairing an index", _script("repair", keys))
    yield SelfTestStep("ending sessions", _end(keys, int(now)), [_SOURCE.encode(), b""])
    yield SelfTestStep("reading after the end", ("MGET", *keys), [None, ERASED])
    yield SelfTestStep("the command ping", ("PING",))


def _creations(keyspace: Keyspace, guest: Session, user: Session, once: Session) -> Iterator[SelfTestStep]:
    minute = guest.started_at // SECOND_US // MINUTE
    head = (*_LIFETIMES, 10, minute * MINUTE // DAY + 1)
    groups: tuple[Word, ...] = (_SOURCE, minute, 1, 0, _SOURCE, minute, 1, 1)
    keys, values = [keyspace.session(guest.id), keyspace.session(user.id)], [encode(guest), encode(user)]
    creation = _script("create", keys, *head, 2, 2, *groups, *values, _SOURCE, user.user_digest or "")
    yield SelfTestStep("creating sessions", creation, [1, 1])
    yield SelfTestStep("the command mget", ("MGET", *keys), values)
    request = [keyspace.session(once.id), keyspace.request(once.id, "hash")]
    creation = _script("create_once", request, *head, 1, "hash", _SOURCE, minute, encode(once), "", "")
    yield SelfTestStep("creating a session once", creation, [[once.id.encode(), encode(once)]])
    successor = user._replace(id=once.id[:-1] + "3", user_changes=1)
    keys, words = [request[0], keyspace.session(successor.id)], (_SOURCE, successor.user_digest or "")
    change: tuple[Word, ...] = (
        "all",
        minute * MINUTE,
        0,
        TTL_SECONDS,
        *keys,
        encode(once),
        encode(successor),
        *words,
    )
    yield SelfTestStep("changing a user", _script("set_user", keys, *head, *change), 1)
    yield SelfTestStep("ending the successor", _end(keys[:1], minute * MINUTE), [_SOURCE.encode()])


def _end(keys: Sequence[str], now: int) -> Command:
    return _script("end", keys, now, TTL_SECONDS, TTL_SECONDS, len(keys), "")


def _counts_and_users(keyspace: Keyspace, shard: int, user: Session) -> Iterator[SelfTestStep]:
    now, base = user.started_at // SECOND_US, keyspace.base(shard)
    day, digest = now // DAY, user.user_digest or ""
    union = (1, "", day, day, _SOURCE, 1, 1, day, day, 1, _SOURCE)
    index, erasing = keyspace.user_indexes(digest)
    found = [b"0", [user.id.encode(), encode(user)]]
    yield SelfTestStep("counting users", _script("union", [base], "token", TTL_SECONDS, TTL_SECONDS, *union), [1])
    yield SelfTestStep("finding a user", _script("user", [base], index, "0", 10), found)
    yield SelfTestStep("counting a user's sessions", _script("created", [base], _SOURCE, day, day), [1, 1])
    erasure = _script("erase", [base], "token", 10, now, *_LIFETIMES, _SOURCE, digest)
    yield SelfTestStep("erasing a user", erasure, [ErasureState.DONE, 1])
    yield SelfTestStep("finding an erased user", _script("user", [base], erasing, "0", 10), [b"0", []])
    secret = _script("secrets", [f"{base}secrets"], now, "secret", TTL_SECONDS)
    yield SelfTestStep("recording a secret", secret, [b"secret"])
    yield SelfTestStep("marking a write", _script("mark", [f"{base}mark"], TTL_SECONDS), 1)


def _script(name: str, keys: Sequence[str], *arguments: Word) -> Command:
    return ("EVALSHA", script_digest(name), len(keys) + 1, *keys, guard_key(keys[-1]), *arguments)
