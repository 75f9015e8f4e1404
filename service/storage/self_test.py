"""Tests that a new connection leads to a Redis that the service can use.

The test runs on each new connection (`lanes.py`): at the start, after every reconnect
and after a change of server. So every request reaches a Redis that has passed it. The
test uses temporary keys, and takes two round trips and 1 ms of Redis.

It checks the version, every command and every script. It creates and ends sessions, and
checks that one command may use keys of different shards. Commands that only `doctor`
uses are not checked.
"""

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from service.counts import DAY, MINUTE
from service.sessions import SECOND_US, Session
from service.storage.keyspace import Keyspace
from service.storage.redis_errors import ErrorKind, Unfit, kind_of
from service.storage.script_files import NAMES, script_text
from service.storage.script_replies import ErasureState
from service.storage.session_value import ERASED, encode

OLDEST_VERSION = (7, 0)
TTL_SECONDS = 10

_Word = str | int | bytes


@dataclass(frozen=True)
class _Step:
    """One command of the test.

    With a `script`, the words are the arguments of EVALSHA. `expected` is the reply,
    and None accepts every reply that is not an error.
    """

    name: str
    words: Sequence[_Word]
    script: str | None = None
    expected: Any = None


class SelfTest:
    """Tests connections before their first request."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace

    async def __call__(self, connection: AbstractConnection) -> None:
        """Test a new connection.

        Raises Unfit. Its message names the command, the script, the version or the
        mode. A Redis that is full, read-only or cannot write to its disk cannot be
        tested now. The connection then serves one call, which gets the same error, and
        is closed.
        """
        names = ("self_test", *NAMES)
        info, *loaded = await _replies(
            connection, [("INFO", "server"), *(("SCRIPT", "LOAD", script_text(name)) for name in names)]
        )
        _check_version(info)
        try:
            for reply in loaded:
                _check("the command script|load", reply)
            digests = dict(zip(names, loaded, strict=True))
            steps = list(_steps(self._keyspace.temporary(secrets.token_hex(4))))
            commands = [
                ("EVALSHA", digests[step.script], *step.words) if step.script else tuple(step.words) for step in steps
            ]
            for step, reply in zip(steps, await _replies(connection, commands), strict=True):
                _check(step.name, reply, step.expected)
        except _Untestable:
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]  # the library's


class _Untestable(Exception):
    """The server rejects commands at this moment, and may accept them later."""


def _steps(keyspace: Keyspace) -> Iterator[_Step]:
    """Yield the commands in their order. Each script runs at least once."""
    now = time.time()
    day, minute, source, digest = int(now) // DAY, int(now) // MINUTE, "self-test", "f" * 24
    guest = Session("0" + secrets.token_hex(4)[1:] + "-0000-4000-8000-000000000000", int(now * SECOND_US), source)
    user = Session("f" + guest.id[1:], guest.started_at, source, source, digest)
    keys = [keyspace.session(guest.id), keyspace.session(user.id)]
    values = [encode(guest), encode(user)]
    lifetimes = (TTL_SECONDS, TTL_SECONDS, TTL_SECONDS)
    groups: tuple[_Word, ...] = (2, source, minute, 1, 0, source, minute, 1, 1)
    base = keyspace.base(15)
    union = (1, "", day, day, source, 1, 1, day, day, 1, source)
    index, erasing = keyspace.user_indexes(digest)
    yield _Step("a command", (1, keyspace.base(0), TTL_SECONDS), "self_test")
    creation: tuple[_Word, ...] = (2, *keys, *lifetimes, 10, day + 1, *groups, *values, source, digest)
    yield _Step("creating sessions in two shards", creation, "create", [1, 1])
    yield _Step("the command mget", ("MGET", *keys), expected=values)
    yield _Step("counting users", (1, base, "token", TTL_SECONDS, TTL_SECONDS, *union), "union", [1])
    yield _Step("finding a user", (1, base, index, "0", 10), "user", [b"0", [user.id.encode(), values[1]]])
    yield _Step("counting a user's sessions", (1, base, source, day, day), "created", [1, 1])
    erasure: tuple[_Word, ...] = (1, base, "token", 10, int(now), *lifetimes, source, digest)
    yield _Step("erasing a user", erasure, "erase", [ErasureState.DONE, 1])
    yield _Step("finding an erased user", (1, base, erasing, "0", 10), "user", [b"0", []])
    secret = (1, keyspace.secrets, int(now), "secret", TTL_SECONDS)
    yield _Step("recording a secret", secret, "secrets", [b"secret"])
    yield _Step("ending sessions", (2, *keys, int(now), TTL_SECONDS), "end", [source.encode(), b""])
    yield _Step("reading after the end", ("MGET", *keys), expected=[None, ERASED])
    yield _Step("the command ping", ("PING",))


async def _replies(connection: AbstractConnection, commands: Sequence[Sequence[_Word]]) -> list[Any]:
    """Return the replies to commands. An error reply is returned, not raised."""
    await connection.send_packed_command(connection.pack_commands(commands))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except exceptions.ResponseError as error:
            replies.append(error)
    return replies


def _check_version(info: object) -> None:
    """Check the version if INFO is allowed.

    Valkey reports the version of Redis that it is compatible with, too.
    """
    found = re.search(rb"redis_version:([0-9]+)\.([0-9]+)[^\r\n]*", info) if isinstance(info, bytes) else None
    if found and (int(found[1]), int(found[2])) < OLDEST_VERSION:
        version = found[0].partition(b":")[2].decode()
        raise Unfit(f"version {version} is too old: Redis 7.0 or Valkey 7.2 is needed")


def _check(name: str, reply: object, expected: object = None) -> None:
    if isinstance(reply, exceptions.ResponseError):
        if kind_of(reply) in {ErrorKind.REJECTED, ErrorKind.DEMOTED}:
            raise _Untestable
        if isinstance(reply, exceptions.ClusterCrossSlotError):
            raise Unfit("cluster mode: keys of different shards cannot share a command")
        raise Unfit(f"{name} does not work: {reply}")
    if expected is not None and reply != expected:
        raise Unfit(f"{name} does not work: the reply is not the expected one")
