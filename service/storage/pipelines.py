"""Plain commands that are sent together, for reads that need no atomic step."""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from service.storage.client import Command
from service.storage.connection import RedisConnection


async def read(connection: RedisConnection, name: str, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to idempotent commands. Raises as `RedisConnection.call` does.

    The reply is None for a key that has another program's data. The caller bounds the
    number of commands and the size of their replies.
    """
    return await connection.call_all(name, commands, _none_for_wrong_type) if commands else []


def _none_for_wrong_type(error: ResponseError) -> None:
    if not str(error).startswith("WRONGTYPE"):
        raise error
