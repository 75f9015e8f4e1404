"""Puts the parts together: where HTTP meets Redis. Only server.py, which starts the processes, sees both besides."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from service.api import routes
from service.api.analytics import AnalyticsHandlers
from service.api.authorization import Authorizer
from service.api.boundary import Boundary
from service.api.client_address import ClientAddresses
from service.api.cors import Cors
from service.api.create_limits import CreateLimits
from service.api.http_server import Runner
from service.api.operations import Health, MetricsHandler, StoreHandlers
from service.api.routes import Handlers
from service.api.session_token import SessionCookie
from service.api.sessions import SessionHandlers
from service.api.users import UserHandlers
from service.api_keys import Keyring
from service.errors import Overloaded, StoreUnavailable
from service.exposition import CONTENT_TYPE, Exposition
from service.journal import Journal
from service.logs import RequestLog
from service.metrics import Metrics
from service.rate_limits import RateLimiter
from service.sessions import SessionFactory, UserDigest
from service.settings import Settings, TracingSettings
from service.storage.analytics import Analytics
from service.storage.coalescer import Coalescer
from service.storage.keyspace import Keyspace
from service.storage.lanes import Lanes
from service.storage.readiness import Readiness
from service.storage.risk_log import RiskLog
from service.storage.session_store import CoalescedSessionStore, SessionStore
from service.storage.state import StateReader
from service.storage.store_watch import StoreWatch
from service.storage.user_secrets import UserSecrets
from service.storage.users import Users

AUTHORIZER = web.AppKey("authorizer", Authorizer)


@dataclass(frozen=True)
class _Stores:
    user_digest: UserDigest
    secrets: UserSecrets
    sessions: CoalescedSessionStore
    lookup: SessionStore
    counts: Analytics
    users: Users


@dataclass(frozen=True)
class _Traces:
    """The parts that make spans in the place of those that do not. By default there are no traces."""

    boundary: Callable[..., Boundary] = Boundary
    coalescer: Callable[..., Coalescer[Any, Any]] = Coalescer
    close: Callable[[], None] = lambda: None


def _traces(settings: TracingSettings) -> _Traces:
    if settings.otlp_endpoint is None:
        return _Traces()
    # An optional extra: without traces nothing of it is imported, and a request passes no branch for them.
    from service.api.traced_boundary import TracedBoundary
    from service.storage.traced_coalescer import TracedCoalescer
    from service.tracing import Tracing

    tracing = Tracing(settings.otlp_endpoint)
    return _Traces(
        partial(TracedBoundary, tracer=tracing.tracer, sample_ratio=settings.sample_ratio),
        partial(TracedCoalescer, tracer=tracing.tracer),
        tracing.close,
    )


def _stores(settings: Settings, lanes: Lanes, keyspace: Keyspace, metrics: Metrics, traces: _Traces) -> _Stores:
    ttl_seconds, analytics = settings.session.ttl_seconds, settings.analytics
    digest, *previous = map(UserDigest, (settings.session.user_secret, *settings.session.previous_user_secrets))
    secrets = UserSecrets(lanes.sessions, keyspace, (digest, *previous))
    sessions, lookup = (
        SessionStore(connection, keyspace, digest, ttl_seconds=ttl_seconds, analytics=analytics, secrets=secrets)
        for connection in (lanes.sessions, lanes.operators)
    )
    return _Stores(
        digest,
        secrets,
        CoalescedSessionStore(sessions, metrics, traces.coalescer),
        lookup,
        Analytics(lanes.operators, keyspace, ttl_seconds=ttl_seconds),
        Users(lanes.operators, keyspace, digest, analytics=analytics, previous=previous),
    )


def _handlers(settings: Settings, stores: _Stores, watch: StoreWatch, metrics: Metrics, health: Health) -> Handlers:
    cookie = SessionCookie(settings.cookie, settings.session.ttl_seconds)
    limits = CreateLimits(ClientAddresses(settings.server.trusted_proxies), RateLimiter())
    factory, source = SessionFactory(stores.user_digest), settings.session.source
    analytics = AnalyticsHandlers(stores.counts, stores.users, settings.analytics.retention_days)
    return Handlers(
        SessionHandlers(
            stores.sessions, stores.lookup, factory, cookie, limits=limits, source=source, metrics=metrics
        ),
        analytics,
        UserHandlers(stores.users, metrics, analytics.forget_answers),
        StoreHandlers(watch.read, settings.environment),
        health,
    )


def _journal(request_log: RequestLog, metrics: Metrics, exposition: Exposition | None) -> Journal:
    if exposition is None:
        return Journal([request_log.take])

    def publish() -> None:
        metrics.log_lines_dropped.add((), request_log.take_dropped())
        exposition.publish()

    return Journal([request_log.take, exposition.take], [publish])


async def _look_at_redis(readiness: Readiness, secrets: UserSecrets, ttl_seconds: int, watch: StoreWatch) -> None:
    """Log whether Redis serves and whether the user secret was changed, and begin to watch Redis's state.

    The service starts all the same.
    """
    with suppress(StoreUnavailable, Overloaded):  # logged where it is noticed
        await readiness.check()
    await secrets.start(ttl_seconds)
    watch.start()


def _closing(
    sessions: CoalescedSessionStore, lanes: Lanes, watch: StoreWatch, *, journal: Journal, traces: _Traces
) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_: web.Application) -> None:
        try:
            await watch.close()
            await sessions.close()
            await lanes.close()
        finally:
            journal.flush()
            traces.close()

    return close


async def build(
    settings: Settings, redis_url: str, request_log: RequestLog, risk_log: RiskLog | None = None
) -> Runner:
    """Return the whole service, ready to be set up on a socket. `redis_url` is never `embedded`.

    Workers share a `risk_log`, so that one of them logs a warning and not all.
    """
    keyspace = Keyspace(settings.redis.key_prefix)
    metrics, traces = Metrics(), _traces(settings.tracing)
    lanes = Lanes(redis_url, settings.redis, keyspace, metrics)
    readiness = Readiness(lanes.readiness, keyspace)
    stores = _stores(settings, lanes, keyspace, metrics, traces)
    health = Health(readiness.check)
    exposition = Exposition(metrics) if settings.metrics.enabled else None
    journal = _journal(request_log, metrics, exposition)
    watch = StoreWatch(StateReader(lanes.operators), risk_log or RiskLog(), metrics, journal.flush)
    table = routes.table(_handlers(settings, stores, watch, metrics, health))
    if exposition is not None:
        table.append(routes.metrics_route(MetricsHandler(exposition.text, journal, CONTENT_TYPE)))
    # Else an idle worker's gauges would keep what they said during an outage.
    lanes.notify(journal.flush, watch.hurry)

    app = web.Application()
    app[AUTHORIZER] = authorizer = Authorizer(Keyring(settings.api_keys))
    registered = routes.register(table, app.router, authorizer)

    app.on_startup.append(lambda _: _look_at_redis(readiness, stores.secrets, settings.session.ttl_seconds, watch))
    app.on_cleanup.append(_closing(stores.sessions, lanes, watch, journal=journal, traces=traces))
    return Runner(
        app,
        registered.handlers,
        cors=Cors(app, registered.resources, settings.cors),
        health=health,
        journal=journal,
        server=settings.server,
        boundary=traces.boundary,
    )
