"""The self-test of a new connection compares each reply, and names the step."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import MovedError, ResponseError

from service.config.settings import RedisSettings
from service.storage import self_test
from service.storage.client import Client, Command
from service.storage.discovery import Discovery
from service.storage.keyspace import Keyspace
from service.storage.redis_errors import Unfit
from service.storage.script_files import NAMES, script_digest
from service.storage.self_test import SelfTest, _check_version
from service.storage.self_test_steps import SelfTestStep, steps_of
from service.storage.server_map import ServerMap
from tests.support.servers import RedisServer


class Altered:
    """Puts a reply in place of that to one command, counted from the last one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.from_end = 0
        self.reply: Any = None
        self._replies = self_test._replies
        monkeypatch.setattr(self_test, "_replies", self.replies)

    async def replies(self, connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
        replies = await self._replies(connection, commands)
        if self.from_end > 0 and commands[-1] == ("PING",):  # the commands of the steps
            replies[-self.from_end] = self.reply
        return replies


async def test_each_reply_has_to_be_the_expected_one(
    own_server: RedisServer, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong reply and an error reply make Redis unfit, and name the step."""
    altered, servers = Altered(monkeypatch), ServerMap(Discovery.of(own_server.url, RedisSettings()))
    client = Client(own_server.url, 10.0, 1, SelfTest(keyspace).of_server(servers, own_server.url))
    assert await client.call_all([("PING",)]) == [b"PONG"]
    steps: list[SelfTestStep] = list(steps_of(keyspace, servers.shards_of(own_server.url)))
    assert sum(step.expected is not None for step in steps) > len(steps) // 2
    for altered.from_end, step in enumerate(reversed(steps), 1):
        for altered.reply in ("unexpected", ResponseError("unknown command")):
            await client.reconnect()
            if step.expected is None and altered.reply == "unexpected":
                continue
            with pytest.raises(Unfit, match=step.name):
                await client.call_all([("PING",)])
    await client.close()


def test_each_script_is_tested_on_the_first_and_last_shard(keyspace: Keyspace) -> None:
    """A server that rejects one of them is found before the first request."""
    commands = [step.command for step in steps_of(keyspace, (0, 15))]
    digests = {script_digest(name): name for name in NAMES}
    assert {digests[str(words[0])] for name, *words in commands if name == "EVALSHA"} == set(NAMES)
    assert {name for name, *_ in commands} == {"EVALSHA", "MGET", "PING"}
    assert {keyspace.base(0), keyspace.base(15)} <= {
        str(word)[: len(keyspace.base(0))] for _, *words in commands for word in words
    }


async def test_a_node_of_a_cluster_needs_another_url(
    own_server: RedisServer, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the URL of a single server, a redirect makes it unfit, with the fix."""
    altered, servers = Altered(monkeypatch), ServerMap(Discovery.of(own_server.url, RedisSettings()))
    altered.from_end, altered.reply = 1, MovedError("3999 127.0.0.1:6381")
    client = Client(own_server.url, 10.0, 1, SelfTest(keyspace).of_server(servers, own_server.url))
    with pytest.raises(Unfit, match=r"write redis\+cluster:// in redis.url"):
        await client.call_all([("PING",)])
    await client.close()


async def test_a_server_without_a_shard_is_not_tested(own_server: RedisServer, keyspace: Keyspace) -> None:
    """It may have lost its shards a moment ago. Calls get its own replies."""
    servers = ServerMap(Discovery.of("redis://127.0.0.1/0", RedisSettings()))
    client = Client(own_server.url, 10.0, 1, SelfTest(keyspace).of_server(servers, own_server.url))
    assert await client.call_all([("PING",)]) == [b"PONG"]
    await client.close()


@pytest.mark.parametrize("version", [b"7.0.0", b"7.2.4", b"8.0.1", b"10.0.0"])
def test_a_version_that_suffices(version: bytes) -> None:
    """Redis 7.0 and all later versions pass. So does a server that reports none."""
    _check_version(b"# Server\r\nredis_version:" + version + b"\r\nredis_mode:standalone\r\n")
    _check_version(b"# Server\r\n")
    _check_version(ResponseError("this user has no permissions to run the 'info' command"))


@pytest.mark.parametrize("version", ["6.2.14", "6.10.0", "5.0.7"])
def test_a_version_that_is_too_old(version: str) -> None:
    """The message has the version."""
    with pytest.raises(Unfit, match=f"version {version} is too old"):
        _check_version(b"redis_version:%s\r\n" % version.encode())
