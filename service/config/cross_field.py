"""Validation across settings, each of which is valid by itself."""

import math
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.api_keys import ApiKey, Scope, demo_keys_in
from service.config.certificate import load_pair
from service.config.host_name import is_loopback
from service.config.settings import (
    DEVELOPMENT_REDIS_PASSWORD,
    DEVELOPMENT_USER_SECRET,
    RedisSettings,
    Settings,
    TlsSettings,
)
from service.counts import DAY
from service.errors import TlsError


def cross_field_errors(settings: Settings, redis_password: str | None) -> Iterator[str]:
    """Yield a sentence for each contradiction, and for unsafe settings in production.

    `redis_password` is JAY_REDIS_PASSWORD, from which docker-compose.yml makes
    `redis.url`, or None when it is not set.
    """
    tls = settings.server.tls
    if (tls.certificate is None) != (tls.key is None):
        yield "server.tls: certificate and key go together. Set both or neither"
    if settings.session.ttl_seconds > settings.analytics.retention_days * DAY:
        days = math.ceil(settings.session.ttl_seconds / DAY)
        yield f"analytics.retention_days must be at least {days}, as sessions live that long (session.ttl_seconds)"
    if settings.redis.url == "embedded":
        yield from _embedded_errors(settings.redis)
    if settings.tracing.otlp_endpoint is not None and not _can_trace():
        yield (
            "tracing.otlp_endpoint: OpenTelemetry is not installed. Run `pip install --no-deps --require-hashes -r "
            "requirements/otel.txt`, build the image with `--build-arg REQUIREMENTS=requirements/otel.txt`, or leave "
            "the setting empty"
        )
    if settings.environment == "production":
        yield from _production_errors(settings, redis_password)


def _embedded_errors(redis: RedisSettings) -> Iterator[str]:
    if _is_not_directory(redis.data_dir):
        yield (
            f"redis.data_dir: {redis.data_dir} is not a directory. Name a directory for the data of the embedded "
            "server"
        )
    if redis.durability == "replicated":
        yield (
            "redis.durability: the embedded server has no replicas, so no write would be acknowledged. Set fast or "
            "synced, or name a Redis with replicas in redis.url"
        )


def _production_errors(settings: Settings, redis_password: str | None) -> Iterator[str]:
    """Yield a sentence for missing keys, and for each published key or secret."""
    if not settings.api_keys:
        yield "api_keys: the list is empty, so no client has access. Make a key with `jay-tracking keys new`"
    for name in sorted({key.name for key in demo_keys_in(settings.api_keys).values()}):
        yield (
            f"api_keys: `{name}` is a published demo key. Remove its entry, and make your own key with "
            "`jay-tracking keys new`"
        )
    if settings.session.user_secret == DEVELOPMENT_USER_SECRET:
        yield (
            "session.user_secret has its published default. Set JAY_SESSION__USER_SECRET to your own, such as "
            "the output of `openssl rand -hex 32`"
        )
    if DEVELOPMENT_REDIS_PASSWORD in {redis_password, unquote(urlsplit(settings.redis.url).password or "")}:
        yield (
            "redis.url has the published password of docker-compose.yml. Set JAY_REDIS_PASSWORD to your own, "
            "such as the output of `openssl rand -hex 32`, or name another Redis in JAY_REDIS__URL"
        )


def warnings(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each valid setting that is a risk or has no effect."""
    demo_keys = demo_keys_in(settings.api_keys)
    if settings.environment == "production":
        for name in sorted({key.name for key in settings.api_keys if _is_unlimited(key)}):
            yield (
                f"api_keys: `{name}` has the scope track and no create_limit: a visitor who reads the key in a page "
                "can fill Redis. Add a limit per client address, such as create_limit: 60/minute"
            )
    elif demo_keys and not is_loopback(settings.server.host):
        yield (
            f"server.host: other machines can reach {settings.server.host}, and `environment: development` "
            "accepts the published demo keys. Set JAY_ENVIRONMENT=production"
        )
    if settings.cookie.partitioned and settings.cookie.same_site != "None":
        yield (
            f"cookie.partitioned has no effect with cookie.same_site: {settings.cookie.same_site}, because browsers "
            'send such a cookie to no embedded page of another site. Set cookie.same_site: "None"'
        )


def _is_unlimited(key: ApiKey) -> bool:
    return Scope.TRACK in key.scopes and key.create_limit is None


def _is_not_directory(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        # It is missing or not permitted. The embedded server reports that at its start.
        return False


def unusable_files(tls: TlsSettings) -> Iterator[str]:
    """Yield a sentence when the certificate and the key cannot be used."""
    if tls.certificate is not None and tls.key is not None:
        try:
            load_pair(tls.certificate, tls.key)
        except TlsError as error:
            yield str(error)


def _can_trace() -> bool:
    """Return whether the whole extra `otel` is installed.

    Other packages install parts of it.
    """
    try:
        return all(map(find_spec, ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")))
    except ModuleNotFoundError:  # a parent package is missing
        return False
