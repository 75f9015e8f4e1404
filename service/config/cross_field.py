"""What is wrong with settings that are right one by one."""

import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.api_keys import ApiKey, Scope, demo_keys_in
from service.config.certificate import load_pair
from service.config.host_name import is_loopback
from service.config.settings import DEVELOPMENT_REDIS_PASSWORD, DEVELOPMENT_USER_SECRET, Settings, TlsSettings
from service.errors import TlsError


def cross_field_errors(settings: Settings, redis_password: str | None = None) -> Iterator[str]:
    """Yield a sentence for each contradiction, and for each thing that production refuses.

    `redis_password` is the one of which docker-compose.yml makes `redis.url`.
    """
    tls = settings.server.tls
    if (tls.certificate is None) != (tls.key is None):
        yield "server.tls: certificate and key go together; set both or neither"
    if settings.session.ttl_seconds > settings.analytics.retention_days * 86400:
        yield "analytics.retention_days: must cover session.ttl_seconds, or living sessions could not be counted"
    if settings.redis.url == "embedded" and _is_no_directory(settings.redis.data_dir):
        folder = settings.redis.data_dir
        yield f"redis.data_dir: {folder} is not a directory; name another place for the data of the embedded server"
    if settings.tracing.otlp_endpoint is not None and not _can_trace():
        yield (
            "tracing.otlp_endpoint: OpenTelemetry is not installed; run `pip install --no-deps --require-hashes -r "
            "requirements/otel.txt`, build the image with `--build-arg REQUIREMENTS=requirements/otel.txt`, or leave "
            "the setting empty"
        )
    if settings.environment == "production":
        yield from _published(settings, redis_password)


def _published(settings: Settings, redis_password: str | None) -> Iterator[str]:
    """Yield a sentence for each key and secret that everybody knows."""
    if not settings.api_keys:
        yield "api_keys: nobody could call; make a key with `jay-tracking keys new`"
    for name in sorted({key.name for key in demo_keys_in(settings.api_keys).values()}):
        yield (
            f"api_keys: `{name}` is a published demo key; remove its entry, and make a key of your own with "
            "`jay-tracking keys new`"
        )
    if settings.session.user_secret == DEVELOPMENT_USER_SECRET:
        yield (
            "session.user_secret: is the published one; set JAY_SESSION__USER_SECRET to one of your own, such as "
            "the output of `openssl rand -hex 32`"
        )
    if DEVELOPMENT_REDIS_PASSWORD in {redis_password, unquote(urlsplit(settings.redis.url).password or "")}:
        yield (
            "redis.url: has the published password of docker-compose.yml; set JAY_REDIS_PASSWORD to one of your own, "
            "such as the output of `openssl rand -hex 32`, or name another Redis in JAY_REDIS__URL"
        )


def warnings(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that works but that an operator would not want."""
    demo_keys = demo_keys_in(settings.api_keys)
    if settings.environment == "production":
        for name in sorted({key.name for key in settings.api_keys if _is_unlimited(key)}):
            yield (
                f"api_keys: `{name}` has the scope track and no create_limit: anybody who reads the key in a page "
                "can fill Redis. Add a limit per client address, such as create_limit: 60/minute"
            )
    elif demo_keys and not is_loopback(settings.server.host):
        yield (
            f"server.host: {settings.server.host} can be reached by other machines, and `environment: development` "
            "accepts the published demo keys; set JAY_ENVIRONMENT=production"
        )


def _is_unlimited(key: ApiKey) -> bool:
    return Scope.TRACK in key.scopes and key.create_limit is None


def _is_no_directory(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except OSError:  # it does not exist yet, or may not be looked at: starting the server says what is wrong
        return False


def unusable_files(tls: TlsSettings) -> Iterator[str]:
    """Yield a sentence when the certificate and the key cannot be used."""
    if tls.certificate is not None and tls.key is not None:
        try:
            load_pair(tls.certificate, tls.key)
        except TlsError as error:
            yield str(error)


def _can_trace() -> bool:
    """Tell whether the extra `otel` is there, of which only a part may be."""
    try:
        return all(map(find_spec, ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")))
    except ModuleNotFoundError:  # the package that it would be in
        return False
