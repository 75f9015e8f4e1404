"""Every setting, declared once with its name, help, default and checks.

This module reads nothing. `loading.py` reads the file and the environment by these
declarations, `redacted_view.py` shows the values, and `schema.py` makes a JSON Schema.
Each part of the service gets its own section and sees no other.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from service.api_keys import ApiKey
from service.config.api_key_entries import API_KEYS_SCHEMA, parse_api_keys, show_api_keys
from service.config.declaration import setting
from service.config.host_name import MAX_PORT
from service.config.privacy_settings import PrivacySettings
from service.config.redis_url import check_redis_url, without_password
from service.config.request_headers import MAX_NAMES, check_request_headers
from service.config.sizes import HALF, SIZE_PATTERN, check_max_memory
from service.config.telemetry_settings import LogSettings, MetricsSettings, TracingSettings
from service.config.value_checks import (
    MIN_SECRET_LENGTH,
    Between,
    Each,
    Matching,
    check_cookie_domain,
    check_host,
    check_network,
    check_source,
    check_user_secret,
)
from service.config.web_origins import check_origin
from service.counts import MAX_RETENTION_DAYS
from service.sessions import DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS

DEVELOPMENT_USER_SECRET = "development-only"  # noqa: S105 - published, and rejected in production
DEVELOPMENT_REDIS_PASSWORD = "jay-on-a-private-network"  # noqa: S105 - in docker-compose.yml, likewise


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """TLS by the service itself, for set-ups without a proxy in front."""

    certificate: Path | None = setting(
        None, "PEM file with the certificate chain. The service speaks plain HTTP when empty"
    )
    key: Path | None = setting(None, "PEM file with the private key of the certificate")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The HTTP server and its processes."""

    host: str = setting("127.0.0.1", "address to listen on, 0.0.0.0 for all addresses", check=check_host)
    port: int = setting(8080, "TCP port, 0 takes a free port", check=Between(0, MAX_PORT))
    workers: int = setting(1, "worker processes, at most one per core", check=Between(1, 64))
    drain_seconds: float = setting(
        1.0,
        "how long /readyz answers 503 after SIGTERM before the service stops listening",
        check=Between(0, 60),
    )
    shutdown_seconds: float = setting(
        10.0, "how long requests in flight may take to finish at shutdown", check=Between(0, 60)
    )
    keepalive_seconds: float = setting(
        75.0,
        "how long an idle connection stays open, longer than in the proxies in front of the service",
        check=Between(1, 7200),
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "addresses and networks of proxies whose X-Forwarded-For or Forwarded names the client",
        check=Each(check_network),
        example='"10.0.0.0/8"',
    )
    tls: TlsSettings = field(default_factory=TlsSettings)

    def url(self, port: int) -> str:
        """Return the URL of the service on this machine.

        `port` is the real one when the setting is 0.
        """
        scheme = "http" if self.tls.certificate is None else "https"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """Where sessions are kept."""

    url: str = setting(
        "embedded",
        "`embedded` (a private Valkey), or redis://, rediss://, unix://, redis+sentinel://, redis+cluster://",
        check=check_redis_url,
        secret=True,
        show=without_password,
    )
    data_dir: Path = setting(Path("data"), "where the embedded server keeps its data")
    max_memory: str = setting(
        HALF,
        "memory limit of the embedded server: `half` of what the container or machine has, or a size such as 512mb",
        check=check_max_memory,
        schema={"pattern": f"^(?:{HALF}|{SIZE_PATTERN})$"},
    )
    key_prefix: str = setting(
        "jay",
        "first part of every key in Redis, short to save memory",
        check=Matching("[a-z0-9-]{1,16}", "1 to 16 of a-z, 0-9 and -"),
    )
    timeout_seconds: float = setting(0.25, "longest wait for a connection, and for a reply", check=Between(0.01, 10))
    durability: Literal["fast", "synced", "replicated"] = setting(
        "fast", "when a write is acknowledged: in memory, on disk (Redis 7.2), or on all connected replicas"
    )
    group_by_shard: Literal["auto", "always", "never"] = setting(
        "auto", "whether a command may only have keys of one shard. `auto` finds out whether Redis needs that"
    )


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """Lifetime, source and user secrets of sessions."""

    ttl_seconds: int = setting(
        DEFAULT_TTL_SECONDS, "lifetime of a session and of its cookie", check=Between(1, MAX_TTL_SECONDS)
    )
    source: str = setting("jay.api.playout.1.0.0", "`source` of sessions whose API key has none", check=check_source)
    user_secret: str = setting(
        DEVELOPMENT_USER_SECRET,
        "key of the hash under which a user's sessions are found, the same in all processes",
        check=check_user_secret,
        secret=True,
        schema={"minLength": MIN_SECRET_LENGTH},
    )
    previous_user_secrets: tuple[str, ...] = setting(
        (),
        "earlier values of `session.user_secret`, under which users' sessions are found as well",
        check=Each(check_user_secret),
        secret=True,
        example='"the secret before", "the one before that"',
        schema={"items": {"type": "string", "minLength": MIN_SECRET_LENGTH}},
    )


@dataclass(frozen=True, kw_only=True)
class CookieSettings:
    """Attributes of the session cookie. `Secure` and `HttpOnly` are always set."""

    same_site: Literal["Lax", "Strict", "None"] = setting(
        "Lax", "attribute `SameSite`: Lax, Strict, or None for pages of other sites"
    )
    domain: str | None = setting(
        None,
        "attribute `Domain`, empty for the host of the service only",
        check=check_cookie_domain,
    )
    path: str = setting(
        "/",
        "attribute `Path`",
        check=Matching(r"/[A-Za-z0-9._~/-]*", "a path that begins with / and has only letters, digits or . _ ~ / -"),
    )
    partitioned: bool = setting(
        default=False, help_text="attribute `Partitioned`, for embedded cross-site pages (CHIPS)"
    )


@dataclass(frozen=True, kw_only=True)
class CorsSettings:
    """Web pages of other origins that may call the API."""

    origins: tuple[str, ...] = setting(
        (),
        "origins whose pages may call, such as https://www.example.com",
        check=Each(check_origin),
        example='"https://www.example.com"',
    )
    request_headers: tuple[str, ...] = setting(
        (),
        "more request headers that pages may send, such as x-client-version",
        check=check_request_headers,
        example='"x-client-version"',
        schema={"maxItems": MAX_NAMES},
    )
    max_age_seconds: int = setting(600, "how long a browser may remember a preflight", check=Between(0, 86400))


@dataclass(frozen=True, kw_only=True)
class AnalyticsSettings:
    """How long counts are kept, and the size of the list of most active users."""

    retention_days: int = setting(90, "how long counts are kept", check=Between(1, MAX_RETENTION_DAYS))
    top_users: int = setting(
        100, "users kept in the list of the most active, for each day and shard", check=Between(10, 1000)
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings."""

    environment: Literal["development", "production"] = setting(
        "development", "production rejects demo keys and development secrets"
    )
    server: ServerSettings = field(default_factory=ServerSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    cookie: CookieSettings = field(default_factory=CookieSettings)
    cors: CorsSettings = field(default_factory=CorsSettings)
    analytics: AnalyticsSettings = field(default_factory=AnalyticsSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    log: LogSettings = field(default_factory=LogSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    api_keys: tuple[ApiKey, ...] = setting(
        (),
        "API keys of clients. config.yaml describes the fields of an entry",
        parse=parse_api_keys,
        show=show_api_keys,
        example='{"name": …, "sha256": …, "scopes": […]}',
        schema=API_KEYS_SCHEMA,
    )
