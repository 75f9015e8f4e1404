"""Puts the parts together: where HTTP meets Redis. Only server.py, which starts the processes, sees both besides."""

from contextlib import suppress

from aiohttp import web

from service.api import routes
from service.api.authorization import Authorizer
from service.api.cors import Cors
from service.api.create_body import MAX_BYTES
from service.api.http_server import Runner
from service.api.operations import Health
from service.api.session_token import SessionCookie
from service.api.sessions import SessionHandlers
from service.api_keys import Keyring
from service.errors import StoreUnavailable
from service.logs import RequestLog
from service.sessions import SessionFactory, UserDigest
from service.settings import Settings
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.session_store import CoalescedSessionStore, SessionStore

AUTHORIZER = web.AppKey("authorizer", Authorizer)


async def build(settings: Settings, redis_url: str, request_log: RequestLog) -> Runner:
    """Return the whole service, ready to be set up on a socket. `redis_url` is never `embedded`."""
    ttl_seconds = settings.session.ttl_seconds
    keyspace = Keyspace(settings.redis.key_prefix)
    user_digest = UserDigest(settings.session.user_secret)
    connection = RedisConnection(redis_url, settings.redis)
    store = SessionStore(connection, keyspace, user_digest, ttl_seconds=ttl_seconds, analytics=settings.analytics)
    sessions = CoalescedSessionStore(store)

    cookie = SessionCookie(settings.cookie, ttl_seconds)
    handlers = SessionHandlers(sessions, SessionFactory(user_digest), cookie, settings.session.source)
    health = Health(lambda: connection.check_takes_writes(keyspace.ready))
    authorizer = Authorizer(Keyring(settings.api_keys))

    app = web.Application(client_max_size=MAX_BYTES)
    app[AUTHORIZER] = authorizer
    registered = routes.register(routes.table(handlers, health), app.router, authorizer)
    cors = Cors(app, registered.api_resources, settings.cors)

    async def say_whether_redis_serves(_: web.Application) -> None:
        with suppress(StoreUnavailable):  # logged where it is noticed; the service starts all the same
            await connection.check_takes_writes(keyspace.ready)

    async def close(_: web.Application) -> None:
        await sessions.close()
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
