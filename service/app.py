"""Composes the service from its parts. Only this module imports both HTTP and Redis."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from service.api import routes
from service.api.aiohttp_internals.server import Runner
from service.api.auth import Authorizer, DirectHandlers, Handler
from service.api.client_address import ClientAddresses
from service.api.cors import Cors
from service.api.create_limits import CreateLimits
from service.api.dispatcher import Dispatcher
from service.api.forward_auth import ForwardAuth
from service.api.front_door.creations import Creations
from service.api.front_door.fast_path import FastPath
from service.api.front_door.forward_auth import ForwardAuthAnswers
from service.api.handlers.analytics import AnalyticsHandlers
from service.api.handlers.consent import ConsentHandlers
from service.api.handlers.forward_auth import ForwardAuthHandlers
from service.api.handlers.health import Health
from service.api.handlers.operations import MetricsHandler, StoreStatusHandler
from service.api.handlers.privacy import PrivacyHandlers
from service.api.handlers.sessions import SessionHandlers
from service.api.handlers.users import UserHandlers
from service.api.known_paths import KnownPaths
from service.api.privacy_notice import make_notice
from service.api.routes import Handlers
from service.api.session_token import SessionCookie
from service.api_keys import Keyring
from service.config.settings import Settings
from service.config.telemetry_settings import TracingSettings
from service.digests import SessionRefs, UserDigest
from service.errors import Overloaded, StoreUnavailable
from service.rate_limits import RateLimiter
from service.sessions import SessionFactory
from service.storage.coalescer import BatchQueueFactory, Coalescer
from service.storage.count_store import RedisCountStore
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.lanes import Lanes
from service.storage.readiness import Readiness
from service.storage.redis_status import RedisStatusReader
from service.storage.risk_log import RiskLog
from service.storage.session_queues import Queues, make_queues
from service.storage.session_store import RedisSessionStore
from service.storage.store_watch import StoreWatch
from service.storage.user_changes import UserChanges
from service.storage.user_secrets import UserSecrets
from service.storage.user_store import RedisUserStore
from service.telemetry.logs import RequestLog
from service.telemetry.metrics import Metrics
from service.telemetry.prometheus import CONTENT_TYPE, PrometheusExporter
from service.telemetry.request_recorder import RequestRecorder

if TYPE_CHECKING:
    from service.telemetry.tracing import Tracing


async def build(  # long on purpose: the list of all parts, each named once
    settings: Settings, redis_url: str, request_log: RequestLog, risk_log: RiskLog | None = None
) -> Runner:
    """Return the runner of the whole service. The caller sets it up on a socket.

    `redis_url` is the URL of a server, never `embedded`. Workers share a `risk_log`, so
    that only one of them logs a warning.
    """
    # Telemetry.
    metrics = Metrics()
    tracing = _tracing(settings.tracing)
    exporter = PrometheusExporter(metrics) if settings.metrics.enabled else None
    refs = SessionRefs(settings.session.user_secret)
    recorder = _recorder(request_log, metrics, exporter, refs if settings.log.session_ref else None)

    # Redis.
    keyspace, ttl_seconds = Keyspace(settings.redis.key_prefix), settings.session.ttl_seconds
    digest, *previous = map(UserDigest, (settings.session.user_secret, *settings.session.previous_user_secrets))
    lanes = Lanes(redis_url, settings.redis, keyspace, metrics)
    secrets = UserSecrets(lanes.sessions, keyspace, (digest, *previous))
    lanes.add_steps(secrets.steps)  # before the first request of each new connection
    retention_days, top_users = settings.analytics.retention_days, settings.analytics.top_users
    factory, lifetimes = SessionFactory(digest, ttl_seconds), Lifetimes.of(ttl_seconds, retention_days)
    make_store = partial(
        RedisSessionStore, keyspace=keyspace, lifetimes=lifetimes, top_users=top_users, secrets=secrets
    )
    lookup = make_store(lanes.operators)
    changes = UserChanges(lanes.consent, keyspace, factory, lifetimes=lifetimes, secrets=secrets)
    sessions = make_queues(make_store(lanes.sessions), _coalesce(lanes, metrics, tracing), changes)
    counts = RedisCountStore(lanes.operators, keyspace, ttl_seconds=ttl_seconds, retention_days=retention_days)
    users = RedisUserStore(lanes.operators, keyspace, digest, retention_days=retention_days, previous=previous)
    readiness = Readiness(lanes.readiness, keyspace)
    watch = StoreWatch(RedisStatusReader(lanes.operators), risk_log or RiskLog(), recorder.flush)

    # HTTP.
    cookie = SessionCookie(settings.cookie, ttl_seconds)
    limits = CreateLimits(ClientAddresses(settings.server.trusted_proxies), RateLimiter())
    source = settings.session.source
    session_handlers = SessionHandlers(
        sessions, lookup, factory, cookie, refs=refs, limits=limits, source=source, metrics=metrics
    )
    forward_auth = ForwardAuth(refs)
    analytics_handlers = AnalyticsHandlers(counts, users, retention_days)
    status_handler, health = StoreStatusHandler(watch.read, settings.environment), Health(readiness.check)
    authorizer = Authorizer(Keyring(settings.api_keys))
    privacy_handlers = PrivacyHandlers(lambda: make_notice(settings, authorizer.keys))
    table = routes.table(
        Handlers(
            session_handlers,
            ConsentHandlers(changes, cookie),
            ForwardAuthHandlers(sessions, forward_auth, metrics),
            analytics_handlers,
            UserHandlers(users, refs, metrics, analytics_handlers.forget_answers),
            status_handler,
            health,
            privacy_handlers,
        )
    )
    if exporter is not None:
        table.append(routes.metrics_route(MetricsHandler(exporter.text, recorder, CONTENT_TYPE)))
    app = web.Application()
    registered = routes.register(table, app.router, authorizer)
    cors = Cors(app.router, registered.resources, settings.cors)

    # Lifetime. A breaker that opens or closes flushes the recorder. Otherwise the
    # gauges of an idle worker would keep the numbers of an outage.
    lanes.notify(recorder.flush, watch.poll_soon)
    metrics.waiting.set_function(sessions.waiting)
    metrics.breaker_open.set_function(lanes.open_breakers)
    metrics.connections.set_function(lanes.connections)
    metrics.memory_full.set_function(watch.memory_full)
    app.on_startup.append(_startup_hook(lanes, readiness, secrets, watch, ttl_seconds))
    app.on_cleanup.append(_cleanup_hook(sessions, lanes, watch, recorder=recorder, tracing=tracing))

    # The runner. A trace begins with the request, so traced requests go through the
    # dispatcher, and there is no fast path.
    fast_path = None
    if tracing is None:
        fast_path = FastPath(
            sessions,
            authorizer,
            cookie,
            creations=Creations(sessions, factory, cookie, limits=limits, metrics=metrics, source=source),
            forward_auth=ForwardAuthAnswers(forward_auth, metrics),
            cors=cors,
            health=health,
            recorder=recorder,
            metrics=metrics,
            source=source,
        )
    direct_handlers = registered.direct_handlers
    paths = KnownPaths(resource.canonical for resource in app.router.resources())
    make_dispatcher = partial(
        Dispatcher, direct_handlers=direct_handlers, paths=paths, cors=cors, health=health, recorder=recorder
    )
    return Runner(
        app,
        make_dispatcher,
        authorizer=authorizer,
        health=health,
        server=settings.server,
        wrap=_traced(tracing, settings.tracing, direct_handlers, refs),
        fast_path=fast_path,
    )


def _tracing(settings: TracingSettings) -> "Tracing | None":
    if settings.otlp_endpoint is None:
        return None
    # OpenTelemetry is an optional extra, and is imported only while tracing is on.
    from service.telemetry.tracing import Tracing

    return Tracing(settings.otlp_endpoint)


def _recorder(
    request_log: RequestLog, metrics: Metrics, exporter: PrometheusExporter | None, refs: SessionRefs | None
) -> RequestRecorder:
    if exporter is None:
        return RequestRecorder([request_log.write_records], refs=refs)

    def publish() -> None:
        metrics.log_lines_dropped.add((), request_log.drain_dropped())
        exporter.publish()

    return RequestRecorder([request_log.write_records, exporter.count_requests], [publish], refs=refs)


def _coalesce(lanes: Lanes, metrics: Metrics, tracing: "Tracing | None") -> BatchQueueFactory:
    max_wait_seconds = lanes.sessions.deadline_seconds
    coalesce: BatchQueueFactory = partial(Coalescer, metrics=metrics, max_wait_seconds=max_wait_seconds)
    if tracing is None:
        return coalesce
    from service.storage.traced_coalescer import TracedCoalescer

    return partial(TracedCoalescer, coalesce=coalesce, tracer=tracing.tracer)


def _startup_hook(
    lanes: Lanes, readiness: Readiness, secrets: UserSecrets, watch: StoreWatch, ttl_seconds: int
) -> Callable[[web.Application], Awaitable[None]]:
    async def check_redis(_: web.Application) -> None:
        """Log if Redis is unavailable or the user secret has changed, then watch Redis.

        The service starts in both cases.
        """
        lanes.start()
        with suppress(StoreUnavailable, Overloaded):  # the connection logs them
            await readiness.check()
        await secrets.start(ttl_seconds)
        watch.start()

    return check_redis


def _cleanup_hook(
    sessions: Queues, lanes: Lanes, watch: StoreWatch, *, recorder: RequestRecorder, tracing: "Tracing | None"
) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_: web.Application) -> None:
        try:
            await watch.close()
            await sessions.close()
            await lanes.close()
        finally:
            recorder.flush()
            if tracing is not None:
                tracing.close()

    return close


def _traced(
    tracing: "Tracing | None",
    settings: TracingSettings,
    direct_handlers: DirectHandlers,
    refs: SessionRefs,
) -> Callable[[Handler], Handler]:
    """Return a function that adds spans to the dispatcher, if tracing is on."""
    if tracing is None:
        return lambda handler: handler
    from service.api.traced_dispatcher import TracedDispatcher

    shown_refs = refs if settings.session_ref else None

    def wrap(handler: Handler) -> Handler:
        traced = TracedDispatcher(handler, direct_handlers, tracing.tracer, settings.sample_ratio, refs=shown_refs)
        return traced.handle

    return wrap
