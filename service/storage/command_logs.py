"""The logs of Redis and Valkey whose entries may contain user ids."""

from collections.abc import Mapping

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection
from service.storage.pipelines import send_together

_VALKEY_LOGS = ("slow", "large-request", "large-reply")


async def command_log_lengths(connection: RedisConnection) -> Mapping[str, int] | None:
    """Return the number of entries of each log, by the command that empties it.

    Returns None when the service's Redis user may not read them. Raises
    StoreUnavailable.
    """
    return await connection.run("command logs", _lengths)


async def _lengths(client: Redis) -> Mapping[str, int] | None:
    commands = [("COMMANDLOG", "LEN", name) for name in _VALKEY_LOGS]
    *replies, slow = await send_together(client, [*commands, ("SLOWLOG", "LEN")])
    if not any(isinstance(reply, Exception) for reply in replies):
        return {f"COMMANDLOG RESET {name}": reply for name, reply in zip(_VALKEY_LOGS, replies, strict=True)}
    # Valkey has three logs. Reporting only SLOWLOG would hide the others.
    if isinstance(slow, Exception) or any(isinstance(reply, exceptions.NoPermissionError) for reply in replies):
        return None
    return {"SLOWLOG RESET": slow}
