"""Checks before `jay-tracking demo`: no production, and an empty Redis.

Generated sessions look like real ones afterwards, and stay in the counts for weeks. So
the demo asks the service as well, not only the configuration of the machine on which it
runs. These checks write nothing.
"""

import time
from functools import partial
from http import HTTPStatus
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from service.api import wire
from service.commands.api_client import ApiClient
from service.config.settings import RedisSettings, Settings
from service.counts import DAY
from service.errors import CommandError
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.embedded import find_redis
from service.storage.keyspace import Keyspace
from service.storage.readiness import READINESS_KEYS
from service.storage.redis_errors import is_denied

_SCANNED_AT_ONCE = 1000


def check_environments(settings: Settings, client: ApiClient) -> str:
    """Return the URL of Redis if neither configuration nor service is in production.

    Raises CommandError if one of them is, or if the service does not answer the
    question.
    """
    if settings.environment == "production":
        raise CommandError(
            "this configuration is for production, and the demo would falsify its counts. Use another configuration"
        )
    redis_url = find_redis(settings.redis)
    if redis_url is None:
        raise CommandError(
            "the embedded server is not running here. Start the service first, for example with `make run`"
        )
    answer = client.send("GET", wire.STORE_STATUS_PATH)
    environment = answer.document().get("environment")
    if environment == "production":
        raise CommandError(f"the service at {client.url} is in production, and the demo would falsify its counts")
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise CommandError(
            f"the service at {client.url} rejects the key, so the demo cannot see whether it is in production. "
            "Pass a key with the scope `analytics` with --key or in JAY_KEY"
        )
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise CommandError(f"the service at {client.url} cannot use its Redis: {answer.detail() or 'see its log'}")
    if answer.status != HTTPStatus.OK or environment != "development":
        raise CommandError(
            f"{client.url} does not say whether it is in production ({answer.status}). It is an older version of the "
            "service or another server. Check the URL (--url, JAY_URL)"
        )
    return redis_url


async def check_redis(connection: RedisConnection, redis: RedisSettings, client: ApiClient) -> None:
    """Raise CommandError unless the service uses this Redis and it is empty.

    Raises StoreUnavailable when Redis does not answer.
    """
    keyspace = Keyspace(redis.key_prefix)
    if await _has_keys(connection, keyspace):
        advice = "Use an empty Redis or another redis.key_prefix, also for the service"
        if redis.url == "embedded":
            variable = f"JAY_REDIS__DATA_DIR={redis.data_dir / 'demo'}"
            advice = f"Start the service with {variable}, and run the demo with the same variable"
        raise CommandError(
            "this Redis already has sessions or counts, and the demo would mix generated ones with them. " + advice
        )
    # /readyz counts throw-away sessions for a few seconds. If they do not appear here,
    # the service uses another Redis or prefix.
    today = int(time.time()) // DAY
    if client.send("GET", "/readyz").status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise CommandError(f"the service at {client.url} is not ready. Run `jay-tracking doctor`")
    counted = [
        keyspace.temporary(READINESS_KEYS).sources(shard, day)
        for shard in range(SHARD_COUNT)
        for day in (today - 1, today, today + 1)
    ]
    if not any(await connection.call_all("demo", [("EXISTS", key) for key in counted])):
        raise CommandError(
            f"the service at {client.url} uses another Redis or redis.key_prefix than this configuration. "
            "Pass the service's configuration with --config, or its URL with --url"
        )


async def _has_keys(connection: RedisConnection, keyspace: Keyspace) -> bool:
    """Return whether there is a session, a count or an index.

    Raises CommandError if SCAN is not allowed.
    """
    for url in await connection.server_urls():
        cursor = 0
        while True:
            page = partial(_page, keyspace=keyspace, cursor=cursor)
            cursor, keys = await connection.run_on(url, "demo", page)
            if not all(keyspace.exists_without_sessions(key.decode(errors="replace")) for key in keys):
                return True
            if not cursor:
                break
    return False


async def _page(redis: Redis, *, keyspace: Keyspace, cursor: int) -> Any:
    """Return the next cursor, and keys as bytes."""
    try:
        next_cursor, keys = await redis.scan(cursor, match=keyspace.pattern, count=_SCANNED_AT_ONCE)
    except exceptions.ResponseError as error:
        if is_denied(error):
            raise CommandError(
                "the demo cannot see whether this Redis has sessions. Allow the Redis user +scan"
            ) from None
        raise
    return next_cursor, keys
