"""The logs of Redis and Valkey whose entries may contain user ids."""

from collections import Counter
from collections.abc import Mapping

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection

_VALKEY_LOGS = ("slow", "large-request", "large-reply")


async def command_log_lengths(connection: RedisConnection) -> Mapping[str, int] | None:
    """Return the number of entries of each log, by the command that empties it.

    With several servers, the numbers are sums. Returns None when the service's Redis
    user may not read them. Raises StoreUnavailable.
    """
    total = Counter[str]()
    for lengths in await connection.run_on_each("command logs", _lengths):
        if lengths is None:
            return None
        total.update(lengths)
    return total


async def _lengths(client: Redis) -> Mapping[str, int] | None:
    pipeline = client.pipeline(transaction=False)
    for name in _VALKEY_LOGS:
        pipeline.execute_command("COMMANDLOG", "LEN", name)
    pipeline.execute_command("SLOWLOG", "LEN")
    *replies, slow = await pipeline.execute(raise_on_error=False)
    if not any(isinstance(reply, Exception) for reply in replies):
        return {f"COMMANDLOG RESET {name}": reply for name, reply in zip(_VALKEY_LOGS, replies, strict=True)}
    # Valkey has three logs. Reporting only SLOWLOG would hide the others.
    if isinstance(slow, Exception) or any(isinstance(reply, exceptions.NoPermissionError) for reply in replies):
        return None
    return {"SLOWLOG RESET": slow}
