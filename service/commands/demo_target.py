"""Where `jay-tracking demo` may write: a service that is not in production, and its Redis while it has no sessions.

Made-up sessions cannot be told from real ones afterwards and would stay in the counts for weeks. So the demo asks the
service that it is for, and not only the configuration of the machine that it runs on. Nothing here writes.
"""

import time
from functools import partial
from http import HTTPStatus
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from service.api import wire
from service.commands.api_client import ApiClient
from service.config.settings import Settings
from service.counts import DAY
from service.errors import CommandError
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.embedded import find_redis
from service.storage.keyspace import Keyspace
from service.storage.readiness import READY
from service.storage.redis_errors import is_denied

_STATE_PATH = f"{wire.OPERATOR_PATH}/analytics/store"
_SCANNED_AT_ONCE = 1000


def check_environments(settings: Settings, client: ApiClient) -> str:
    """Return the URL of Redis once neither this configuration nor the service is in production.

    Raises CommandError otherwise, and where the service does not say.
    """
    if settings.environment == "production":
        raise CommandError("this configuration is production, whose counts would be made up too: use another one")
    redis_url = find_redis(settings.redis)
    if redis_url is None:
        raise CommandError("no embedded server runs here: start the service first, for example with `make run`")
    answer = client.send("GET", _STATE_PATH)
    environment = answer.document().get("environment")
    if environment == "production":
        raise CommandError(f"the service at {client.url} is in production, whose counts would be made up too")
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise CommandError(
            f"the service at {client.url} does not say whether it is in production, as it does not accept the key: "
            "give a key with the scope `analytics` with --key or in JAY_KEY"
        )
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise CommandError(f"the service at {client.url} cannot ask Redis: {answer.detail() or 'see its log'}")
    if answer.status != HTTPStatus.OK or environment != "development":
        raise CommandError(
            f"{client.url} does not say whether it is in production ({answer.status}): it is an older service, or "
            "another server; check the URL (--url, JAY_URL)"
        )
    return redis_url


async def check_redis(connection: RedisConnection, keyspace: Keyspace, client: ApiClient) -> None:
    """Raise CommandError unless this Redis is the service's and has neither sessions nor counts.

    Raises StoreUnavailable where it cannot be asked.
    """
    if await _has_keys(connection, keyspace):
        raise CommandError(
            "this Redis already has sessions or counts, which the demo would mix with made-up ones: "
            "use an empty Redis or another redis.key_prefix, for the service too"
        )
    # /readyz counts throw-away sessions for seconds. A service with another Redis or prefix counts none here.
    today = int(time.time()) // DAY
    client.send("GET", "/readyz")
    counted = [
        keyspace.temporary(READY).sources(shard, day)
        for shard in range(SHARD_COUNT)
        for day in (today - 1, today, today + 1)
    ]
    if not await connection.run("demo", lambda redis: redis.exists(*counted)):
        raise CommandError(
            f"the service at {client.url} uses another Redis than this configuration, or another redis.key_prefix: "
            "give the service's configuration with --config, or its URL with --url"
        )


async def _has_keys(connection: RedisConnection, keyspace: Keyspace) -> bool:
    """Tell whether there is a session, a count or an index. Raises CommandError where SCAN is not allowed."""
    cursor = 0
    while True:
        cursor, keys = await connection.run("demo", partial(_page, keyspace=keyspace, cursor=cursor))
        if not all(keyspace.exists_without_sessions(key.decode(errors="replace")) for key in keys):
            return True
        if not cursor:
            return False


async def _page(redis: Redis, *, keyspace: Keyspace, cursor: int) -> Any:  # the next cursor, and keys as bytes
    try:
        following, keys = await redis.scan(cursor, match=keyspace.pattern, count=_SCANNED_AT_ONCE)
    except exceptions.ResponseError as error:
        if is_denied(error):
            raise CommandError(
                "the demo cannot see whether this Redis has sessions: allow the Redis user +scan"
            ) from None
        raise
    return following, keys
