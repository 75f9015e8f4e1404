"""Puts the parts together: where HTTP meets Redis. Only server.py, which starts the processes, sees both besides."""

from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from service.api import routes
from service.api.analytics import AnalyticsHandlers
from service.api.authorization import Authorizer
from service.api.cors import Cors
from service.api.http_server import Runner
from service.api.operations import Health, StoreHandlers
from service.api.routes import Handlers
from service.api.session_token import SessionCookie
from service.api.sessions import SessionHandlers
from service.api.users import UserHandlers
from service.api_keys import Keyring
from service.errors import StoreUnavailable
from service.logs import RequestLog
from service.sessions import SessionFactory, UserDigest
from service.settings import Settings
from service.storage.analytics import Analytics
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.session_store import CoalescedSessionStore, SessionStore
from service.storage.state import StateReader
from service.storage.users import Users

AUTHORIZER = web.AppKey("authorizer", Authorizer)


@dataclass(frozen=True)
class _Stores:
    user_digest: UserDigest
    sessions: CoalescedSessionStore
    counts: Analytics
    users: Users


def _stores(settings: Settings, connection: RedisConnection, keyspace: Keyspace) -> _Stores:
    ttl_seconds, analytics = settings.session.ttl_seconds, settings.analytics
    digest = UserDigest(settings.session.user_secret)
    sessions = SessionStore(connection, keyspace, digest, ttl_seconds=ttl_seconds, analytics=analytics)
    return _Stores(
        digest,
        CoalescedSessionStore(sessions),
        Analytics(connection, keyspace, ttl_seconds=ttl_seconds),
        Users(connection, keyspace, digest, analytics=analytics),
    )


async def build(settings: Settings, redis_url: str, request_log: RequestLog) -> Runner:
    """Return the whole service, ready to be set up on a socket. `redis_url` is never `embedded`."""
    keyspace = Keyspace(settings.redis.key_prefix)
    connection = RedisConnection(redis_url, settings.redis)
    stores = _stores(settings, connection, keyspace)
    health = Health(lambda: connection.check_takes_writes(keyspace.ready))
    cookie = SessionCookie(settings.cookie, settings.session.ttl_seconds)
    handlers = Handlers(
        SessionHandlers(stores.sessions, SessionFactory(stores.user_digest), cookie, settings.session.source),
        AnalyticsHandlers(stores.counts, stores.users, settings.analytics.retention_days),
        UserHandlers(stores.users),
        StoreHandlers(StateReader(connection).read),
        health,
    )
    authorizer = Authorizer(Keyring(settings.api_keys))

    app = web.Application()
    app[AUTHORIZER] = authorizer
    registered = routes.register(routes.table(handlers), app.router, authorizer)
    cors = Cors(app, registered.api_resources, settings.cors)

    async def say_whether_redis_serves(_: web.Application) -> None:
        with suppress(StoreUnavailable):  # logged where it is noticed; the service starts all the same
            await connection.check_takes_writes(keyspace.ready)

    async def close(_: web.Application) -> None:
        await stores.sessions.close()
        await connection.close()
        request_log.flush()

    app.on_startup.append(say_whether_redis_serves)
    app.on_cleanup.append(close)
    return Runner(
        app,
        registered.handlers,
        cors=cors,
        health=health,
        request_log=request_log,
        shutdown_seconds=settings.server.shutdown_seconds,
    )
