"""The logs of Redis and Valkey that keep the arguments of commands, and so user ids."""

from collections.abc import Mapping

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection

_VALKEY_LOGS = ("slow", "large-request", "large-reply")


async def command_log_lengths(connection: RedisConnection) -> Mapping[str, int] | None:
    """Return the number of entries by the command that empties the log.

    None where the service's Redis user may not look. Raises StoreUnavailable.
    """
    return await connection.run("command logs", _lengths)


async def _lengths(client: Redis) -> Mapping[str, int] | None:
    pipeline = client.pipeline(transaction=False)
    for name in _VALKEY_LOGS:
        pipeline.execute_command("COMMANDLOG", "LEN", name)
    pipeline.execute_command("SLOWLOG", "LEN")
    *replies, slow = await pipeline.execute(raise_on_error=False)
    if not any(isinstance(reply, Exception) for reply in replies):
        return {f"COMMANDLOG RESET {name}": reply for name, reply in zip(_VALKEY_LOGS, replies, strict=True)}
    # Valkey has the other logs too, and the slow log alone would hide them.
    if isinstance(slow, Exception) or any(isinstance(reply, exceptions.NoPermissionError) for reply in replies):
        return None
    return {"SLOWLOG RESET": slow}
