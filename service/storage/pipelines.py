"""Plain commands that are sent together, for reads that need no atomic step."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection

T = TypeVar("T")

Command = Sequence[str | int]


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`. The last list may be shorter."""
    remaining = iter(items)
    while page := list(islice(remaining, size)):
        yield page


async def send_together(client: Redis, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to commands. An error reply is returned, not raised."""
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return await pipeline.execute(raise_on_error=False)


async def read(connection: RedisConnection, name: str, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to idempotent commands.

    Raises the errors of `RedisConnection.run`.

    The reply is None for a key that has another program's data. The caller bounds the
    number of commands and the size of their replies.
    """

    async def send(client: Redis) -> list[Any]:
        return [_without_wrong_type(reply) for reply in await send_together(client, commands)]

    return await connection.run(name, send) if commands else []


def _without_wrong_type(reply: Any) -> Any:
    """Return a reply, or None for WRONGTYPE. Raises every other error reply."""
    if not isinstance(reply, Exception):
        return reply
    if isinstance(reply, exceptions.ResponseError) and str(reply).startswith("WRONGTYPE"):
        return None
    raise reply
