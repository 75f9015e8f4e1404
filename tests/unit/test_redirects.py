"""Commands to a shard that moves, with scripted servers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError

from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.storage.client import Command, Word
from service.storage.discovery import Discovery, SingleServer
from service.storage.keyspace import SHARD_TAGS
from service.storage.redirects import ShardCalls, all_of
from service.storage.server_lane import Accept
from service.storage.server_map import ServerMap
from service.storage.sharding import ASKING
from tests.support.moving_primary import MovingPrimary

OLD, NEW = "redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"
MOVED, ASK = MovedError("1 127.0.0.1:2"), AskError("1 :2")  # the second names no host
AGAIN = TryAgainError("Multiple keys request during rehashing of slot")
KEY, OTHER_KEY = (f"{{{tag}}}key" for tag in SHARD_TAGS[:2])

# Returns the reply of a server, given its URL, the command and whether it was asked to
# serve a slot that is moving to it.
Answer = Callable[[str, Command, bool], Any]


class Primary(MovingPrimary):
    """A single primary, whose redirects lead to other ports."""

    def server_url(self, host: str, port: int) -> str:
        """Return the URL of a server."""
        return f"redis://{host}:{port}/0"


class Site:
    """Calls to servers that answer as the test says."""

    def __init__(self, answer: Answer, discovery: Discovery | None = None) -> None:
        self._answer = answer
        self.servers = ServerMap(discovery or Primary(OLD), clock=lambda: 0.0)
        self.sent: list[tuple[str, list[Command]]] = []
        self._calls = ShardCalls(self.servers, self._send)

    async def call(self, *commands: Command, accept: Accept | None = None) -> list[Any]:
        await self.servers.load()
        return await self._calls.call_all("get", commands, accept or reject, is_write=False)

    async def _send(
        self, url: str, name: str, commands: Sequence[Command], accept: Accept, *, is_write: bool
    ) -> list[Any]:
        assert (name, is_write) == ("get", False)
        self.sent.append((url, [*commands]))
        found, was_asked = [], False
        for command in commands:
            reply = "OK" if command == ASKING else self._answer(url, command, was_asked)
            was_asked = command == ASKING
            found.append(accept(reply) if isinstance(reply, ResponseError) else reply)
        return found


def reject(error: ResponseError) -> Any:
    raise error


def echo(command: Command) -> Word:
    """Return the last word of a command, as its reply."""
    return command[-1]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses before commands that are sent again, which take no time."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    return slept


async def test_a_moved_shard_is_remembered(pauses: list[float]) -> None:
    """After MOVED, a shard is used at its new server, and other shards are not."""

    def answer(url: str, command: Command, _: bool) -> Any:  # noqa: FBT001
        return MOVED if url == OLD and command[1] == KEY else echo(command)

    site = Site(answer)
    assert await site.call(("GET", KEY), ("GET", OTHER_KEY)) == [KEY, OTHER_KEY]
    assert site.servers.urls == [NEW, *[OLD] * 15]
    assert site.sent == [(OLD, [("GET", KEY), ("GET", OTHER_KEY)]), (NEW, [("GET", KEY)])]
    assert await site.call(("GET", KEY)) == [KEY]
    assert site.sent[2:] == [(NEW, [("GET", KEY)])]
    assert pauses == []
    await site.servers.close()


async def test_a_key_that_has_moved_is_asked_for_once(pauses: list[float]) -> None:
    """After ASK, each key is read at the other server, and the shard stays."""
    keys = [f"{KEY}{number}" for number in range(3)]

    def answer(url: str, command: Command, was_asked: bool) -> Any:  # noqa: FBT001
        if command[1] == keys[1]:
            return echo(command) if url == OLD else MOVED
        return ASK if url == OLD else echo(command) if was_asked else MOVED

    site = Site(answer)
    assert await site.call(*(("GET", key) for key in keys)) == keys
    assert site.sent[1:] == [(NEW, [ASKING, ("GET", keys[0]), ASKING, ("GET", keys[2])])]
    assert site.servers.urls == (OLD,) * 16
    assert pauses == []


async def test_several_keys_of_a_moving_shard_are_read_one_by_one(pauses: list[float]) -> None:
    """While only some keys have moved, MGET returns those of both servers."""
    keys = [f"{KEY}{number}" for number in range(3)]

    def answer(url: str, command: Command, was_asked: bool) -> Any:  # noqa: FBT001
        if len(command) > 2:
            return AGAIN
        is_here = url == OLD if command[1] == keys[1] else was_asked
        return [echo(command)] if is_here else ASK

    site = Site(answer)
    assert await site.call(("MGET", *keys), ("MGET", keys[1])) == [keys, [keys[1]]]
    assert pauses == []


async def test_a_script_of_a_moving_shard_is_sent_again(pauses: list[float]) -> None:
    """A script is repeated after a pause. Others of the batch are not."""
    moving, number = ("EVALSHA", "digest", 1, KEY, "moving"), 0

    def answer(_: str, command: Command, __: bool) -> Any:  # noqa: FBT001
        nonlocal number
        number += command == moving
        return AGAIN if command == moving and number < 3 else echo(command)

    site = Site(answer)
    assert await site.call(moving, ("EVALSHA", "digest", 1, OTHER_KEY, "other")) == ["moving", "other"]
    assert [len(commands) for _, commands in site.sent] == [2, 1, 1]
    assert len(pauses) == 2
    assert min(pauses) > 0


@pytest.mark.parametrize(("error", "number_of_pauses"), [(MOVED, 5), (AGAIN, 6)])
async def test_redirects_without_an_end_are_an_error(
    pauses: list[float], error: ResponseError, number_of_pauses: int
) -> None:
    """After three redirects, the caller decides about the last one.

    A server that is asked again is given time.
    """
    site = Site(lambda *_: error)
    with pytest.raises(type(error)):
        await site.call(("GET", KEY))
    assert len(site.sent) == 4
    assert await site.call(("GET", KEY), accept=str) == [str(error)]
    assert len(pauses) == number_of_pauses
    await site.servers.close()


async def test_the_only_server_of_a_deployment_is_not_left() -> None:
    """A single server in cluster mode names no other server that may be used."""
    site = Site(lambda *_: MOVED, SingleServer(OLD, RedisSettings()))
    with pytest.raises(MovedError):
        await site.call(("GET", KEY))
    assert site.sent == [(OLD, [("GET", KEY)])]


async def test_the_first_error_comes_after_all_calls() -> None:
    """No call is left behind when another has failed."""
    ended = []

    async def call(number: int, turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        ended.append(number)
        if number:
            raise StoreUnavailable(str(number))
        return number

    with pytest.raises(StoreUnavailable, match="2"):
        await all_of([call(2, 1), call(0, 9), call(1, 3)])
    assert sorted(ended) == [0, 1, 2]
    assert await all_of([call(0, 2), call(0, 1)]) == [0, 0]
