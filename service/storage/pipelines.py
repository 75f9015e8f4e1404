"""Plain commands sent together, for reads that need no atomic step."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection

T = TypeVar("T")


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`, the last one shorter."""
    remaining = iter(items)
    while page := list(islice(remaining, size)):
        yield page


async def ask(connection: RedisConnection, name: str, commands: Sequence[Sequence[str | int]]) -> list[Any]:
    """Return the replies to repeatable commands, None for foreign data under a key. Raises as `run` does.

    The caller bounds the number of commands and the size of their replies.
    """

    async def send(client: Redis) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies = await pipeline.execute(raise_on_error=False)
        return [_known(reply) for reply in replies]

    return await connection.run(name, send) if commands else []


def _known(reply: Any) -> Any:
    """Return a reply, None for foreign data. Raises every other error of Redis."""
    if not isinstance(reply, Exception):
        return reply
    if isinstance(reply, exceptions.ResponseError) and str(reply).startswith("WRONGTYPE"):
        return None
    raise reply
