"""Tests that a new connection leads to a Redis that the service can use.

The test runs on each new connection (`lanes.py`): at the start, after every reconnect
and after a change of server. So every request reaches a Redis that has passed it. The
test uses temporary keys, and takes three round trips and 1 ms of Redis.

It checks the version, every command and every script. It creates and ends sessions, and
finds out whether one command may use keys of different shards. Commands that only
`doctor` uses are not checked. Other modules may add steps that a new connection needs.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from service.sessions import SHARD_COUNT
from service.storage.client import Command, Prepare
from service.storage.deadlines import next_step
from service.storage.durability import Durability
from service.storage.keyspace import Keyspace
from service.storage.redis_errors import ErrorKind, Unfit, kind_of
from service.storage.script_files import NAMES, script_text
from service.storage.self_test_steps import TTL_SECONDS, SelfTestStep, steps_of
from service.storage.server_map import ServerMap
from service.storage.sharding import across_shards

OLDEST_VERSION = (7, 0)

# While Redis rejects writes, each new connection is one that cannot be tested. If it
# served only one call, each read would take a new connection and a self-test.
UNTESTED_SECONDS = 0.25

# Returns the steps of a connection, given the shards of its server.
MoreSteps = Callable[[Sequence[int]], Iterable[SelfTestStep]]


class SelfTest:
    """Tests connections before their first request."""

    def __init__(self, keyspace: Keyspace, durability: Durability | None = None) -> None:
        self._keyspace = keyspace
        self._durability = durability or Durability()
        self._more_steps: list[MoreSteps] = []

    def add_steps(self, steps: MoreSteps) -> None:
        """Run further steps on each new connection, before its first request."""
        self._more_steps.append(steps)

    def of_server(self, servers: ServerMap, url: str) -> Prepare:
        """Return the test of connections to one server."""
        return lambda connection: self._run(connection, servers, url)

    async def _run(self, connection: AbstractConnection, servers: ServerMap, url: str) -> None:
        """Test a new connection.

        Raises Unfit. Its message names the command, the script, the version or the
        mode. A Redis that is full, read-only or cannot write to its disk cannot be
        tested now, and neither can a server that serves no shard. The connection then
        serves calls without a test for a quarter of a second, and is closed. Its writes
        fail with the error of the test, and its reads may succeed.
        """
        try:
            await _prepare_scripts(connection)
            if not servers.groups_by_shard:
                await _detect_groups(connection, servers, self._keyspace)
            await self._test_steps(connection, servers, url)
            if servers.follows_redirects and servers.groups_by_shard:
                await _detect_spans(connection, servers, url, self._keyspace)
        except _Untestable:
            asyncio.get_running_loop().call_later(UNTESTED_SECONDS, connection.mark_for_reconnect)

    async def _test_steps(self, connection: AbstractConnection, servers: ServerMap, url: str) -> None:
        shards, keyspace = servers.shards_of(url), self._keyspace.temporary(secrets.token_hex(4))
        if not shards:
            raise _Untestable
        tested = [shards[-1]] if servers.groups_by_shard else shards
        more = chain.from_iterable(make(shards) for make in self._more_steps)
        steps = [*steps_of(keyspace, tested), *self._durability.steps, *more]
        for step, reply in zip(steps, await _replies(connection, [step.command for step in steps]), strict=True):
            if isinstance(reply, exceptions.MovedError) and not servers.follows_redirects:
                raise Unfit("a cluster with several nodes: write redis+cluster:// in redis.url")
            _check(step.name, reply)
            if step.expected is not None and reply != step.expected:
                raise Unfit(f"{step.name} does not work: {step.otherwise}")


async def _prepare_scripts(connection: AbstractConnection) -> None:
    """Check the version, and send all scripts to the server."""
    loads = [("SCRIPT", "LOAD", script_text(name)) for name in NAMES]
    info, *loaded = await _replies(connection, [("INFO", "server"), *loads])
    _check_version(info)
    for reply in loaded:
        _check("the command script|load", reply)


async def _detect_groups(connection: AbstractConnection, servers: ServerMap, keyspace: Keyspace) -> None:
    """Find out whether one command may use keys of different shards."""
    [reply] = await _replies(connection, [("MGET", *(keyspace.base(shard) for shard in range(SHARD_COUNT)))])
    if not isinstance(reply, exceptions.ClusterCrossSlotError):
        _check("the command mget", reply)
    elif servers.detects_groups:
        servers.groups_by_shard = True
    else:
        raise Unfit("cluster mode: keys of different shards cannot share a command (redis.group_by_shard)")


async def _detect_spans(connection: AbstractConnection, servers: ServerMap, url: str, keyspace: Keyspace) -> None:
    """Find out whether a script may use keys of several shards of a server."""
    shards = servers.shards_of(url)
    if len(shards) > 1:
        some = (shards[0], shards[-1])
        keys = [keyspace.session(f"{shard:x}0000000-0000-4000-8000-000000000000") for shard in some]
        command = across_shards("end", keys, (0, TTL_SECONDS, TTL_SECONDS, len(keys), ""))
        [reply] = await _replies(connection, [command])
        servers.scripts_span_shards = reply == [b"", b""]


class _Untestable(Exception):
    """The server rejects commands at this moment, and may accept them later."""


async def _replies(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to commands. An error reply is returned, not raised."""
    await connection.send_packed_command(connection.pack_commands(commands))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except exceptions.ResponseError as error:
            replies.append(error)
    next_step()
    return replies


def _check_version(info: object) -> None:
    """Check the version if INFO is allowed.

    Valkey reports the version of Redis that it is compatible with, too.
    """
    found = re.search(rb"redis_version:([0-9]+)\.([0-9]+)[^\r\n]*", info) if isinstance(info, bytes) else None
    if found and (int(found[1]), int(found[2])) < OLDEST_VERSION:
        version = found[0].partition(b":")[2].decode()
        raise Unfit(f"version {version} is too old: Redis 7.0 or Valkey 7.2 is needed")


def _check(name: str, reply: object) -> None:
    if isinstance(reply, exceptions.ResponseError):
        if kind_of(reply) in {ErrorKind.REJECTED, ErrorKind.DEMOTED}:
            raise _Untestable
        raise Unfit(f"{name} does not work: {reply}")
