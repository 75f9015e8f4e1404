"""Puts the parts together: where HTTP meets Redis. Only server.py, which starts the processes, sees both besides."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from service.api import routes
from service.api.aiohttp_internals.server import Runner
from service.api.auth import Authorizer
from service.api.client_address import ClientAddresses
from service.api.cors import Cors
from service.api.create_limits import CreateLimits
from service.api.dispatcher import Dispatcher
from service.api.handlers.analytics import AnalyticsHandlers
from service.api.handlers.operations import Health, MetricsHandler, StoreHandlers
from service.api.handlers.sessions import SessionHandlers
from service.api.handlers.users import UserHandlers
from service.api.routes import Handlers
from service.api.session_token import SessionCookie
from service.api_keys import Keyring
from service.config.settings import Settings, TracingSettings
from service.errors import Overloaded, StoreUnavailable
from service.rate_limits import RateLimiter
from service.sessions import SessionFactory, UserDigest
from service.storage.analytics import Analytics
from service.storage.coalescer import Coalescer
from service.storage.keyspace import Keyspace
from service.storage.lanes import Lanes
from service.storage.readiness import Readiness
from service.storage.redis_status import RedisStatusReader
from service.storage.session_store import CoalescedSessionStore, SessionStore
from service.storage.user_secrets import UserSecrets
from service.storage.users import Users
from service.telemetry.logs import RequestLog
from service.telemetry.metrics import Metrics
from service.telemetry.prometheus import CONTENT_TYPE, PrometheusExporter
from service.telemetry.request_recorder import RequestRecorder

AUTHORIZER = web.AppKey("authorizer", Authorizer)


@dataclass(frozen=True)
class _Stores:
    user_digest: UserDigest
    secrets: UserSecrets
    sessions: CoalescedSessionStore
    lookup: SessionStore
    counts: Analytics
    users: Users
    state: RedisStatusReader


@dataclass(frozen=True)
class _Traces:
    """The parts that make spans in the place of those that do not. By default there are no traces."""

    dispatcher: Callable[..., Dispatcher] = Dispatcher
    coalescer: Callable[..., Coalescer[Any, Any]] = Coalescer
    close: Callable[[], None] = lambda: None


def _traces(settings: TracingSettings) -> _Traces:
    if settings.otlp_endpoint is None:
        return _Traces()
    # An optional extra: without traces nothing of it is imported, and a request passes no branch for them.
    from service.api.traced_dispatcher import TracedDispatcher
    from service.storage.traced_coalescer import TracedCoalescer
    from service.telemetry.tracing import Tracing

    tracing = Tracing(settings.otlp_endpoint)
    return _Traces(
        partial(TracedDispatcher, tracer=tracing.tracer, sample_ratio=settings.sample_ratio),
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
        RedisStatusReader(lanes.operators),
    )


def _handlers(settings: Settings, stores: _Stores, metrics: Metrics, health: Health) -> Handlers:
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
        StoreHandlers(stores.state.read, settings.environment),
        health,
    )


def _recorder(request_log: RequestLog, metrics: Metrics, exporter: PrometheusExporter | None) -> RequestRecorder:
    if exporter is None:
        return RequestRecorder([request_log.write_records])

    def publish() -> None:
        metrics.log_lines_dropped.add((), request_log.take_dropped())
        exporter.publish()

    return RequestRecorder([request_log.write_records, exporter.count_requests], [publish])


async def _look_at_redis(readiness: Readiness, secrets: UserSecrets, ttl_seconds: int) -> None:
    """Log whether Redis serves and whether the user secret was changed. The service starts all the same."""
    with suppress(StoreUnavailable, Overloaded):  # logged where it is noticed
        await readiness.check()
    await secrets.start(ttl_seconds)


async def build(settings: Settings, redis_url: str, request_log: RequestLog) -> Runner:
    """Return the whole service, ready to be set up on a socket. `redis_url` is never `embedded`."""
    keyspace = Keyspace(settings.redis.key_prefix)
    metrics, traces = Metrics(), _traces(settings.tracing)
    lanes = Lanes(redis_url, settings.redis, keyspace, metrics)
    readiness = Readiness(lanes.readiness, keyspace)
    stores = _stores(settings, lanes, keyspace, metrics, traces)
    health = Health(readiness.check)
    table = routes.table(_handlers(settings, stores, metrics, health))
    exporter = PrometheusExporter(metrics) if settings.metrics.enabled else None
    recorder = _recorder(request_log, metrics, exporter)
    if exporter is not None:
        table.append(routes.metrics_route(MetricsHandler(exporter.text, recorder, CONTENT_TYPE)))
    lanes.notify(recorder.flush)  # else an idle worker's gauges would keep what they said during an outage

    app = web.Application()
    app[AUTHORIZER] = authorizer = Authorizer(Keyring(settings.api_keys))
    registered = routes.register(table, app.router, authorizer)

    async def close(_: web.Application) -> None:
        try:
            await stores.sessions.close()
            await lanes.close()
        finally:
            recorder.flush()
            traces.close()

    app.on_startup.append(lambda _: _look_at_redis(readiness, stores.secrets, settings.session.ttl_seconds))
    app.on_cleanup.append(close)
    return Runner(
        app,
        registered.handlers,
        cors=Cors(app, registered.resources, settings.cors),
        health=health,
        recorder=recorder,
        server=settings.server,
        dispatcher=traces.dispatcher,
    )
