"""Every setting: its name, meaning, default and bounds. Values only; `config.py` reads them.

Each part of the service is handed its own section and sees no other.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from service.api_keys import ApiKey
from service.config.redis_url import check_redis_url
from service.config.request_headers import check_request_headers
from service.config.sizes import HALF, check_max_memory
from service.config.value_checks import (
    MAX_PORT,
    Check,
    between,
    check_cookie_domain,
    check_host,
    check_network,
    check_otlp_endpoint,
    check_user_secret,
    each,
    matching,
)
from service.config.web_origins import check_origin
from service.counts import MAX_RETENTION_DAYS
from service.sessions import SOURCE_PATTERN

DEVELOPMENT_USER_SECRET = "development-only"  # noqa: S105 - published, and refused in production
DEVELOPMENT_REDIS_PASSWORD = "jay-on-a-private-network"  # noqa: S105 - of docker-compose.yml, refused like the secret


def setting(default: Any, help_text: str, *, check: Check | None = None, secret: bool = False) -> Any:
    """Declare a setting. `check` returns what a value must be when it is not; a secret is never shown."""
    return field(default=default, metadata={"help": help_text, "check": check, "secret": secret})


check_key_name = matching(r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits or . _ -")
check_source = matching(SOURCE_PATTERN, "1 to 64 letters, digits or . _ : / -")


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """TLS by the service itself, for set-ups without a proxy in front."""

    certificate: Path | None = setting(None, "PEM file with the certificate chain; empty: plain HTTP")
    key: Path | None = setting(None, "PEM file with the private key of the certificate")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The HTTP server and its processes."""

    host: str = setting("127.0.0.1", "address to listen on; 0.0.0.0 for all", check=check_host)
    port: int = setting(8080, "TCP port; 0 takes a free one", check=between(0, MAX_PORT))
    workers: int = setting(1, "worker processes; one per core at most", check=between(1, 64))
    drain_seconds: float = setting(
        1.0,
        "after SIGTERM, how long /readyz answers 503 before listening stops",
        check=between(0, 60),
    )
    shutdown_seconds: float = setting(
        10.0, "how long requests in flight may take to finish at shutdown", check=between(0, 60)
    )
    keepalive_seconds: float = setting(
        75.0, "how long an idle connection stays open, longer than in the proxies in front", check=between(1, 7200)
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "addresses and networks of proxies whose X-Forwarded-For or Forwarded names the client",
        check=each(check_network),
    )
    tls: TlsSettings = field(default_factory=TlsSettings)

    def url(self, port: int) -> str:
        """Return the URL under which this machine reaches the service; `port` is the one that `port: 0` became."""
        scheme = "http" if self.tls.certificate is None else "https"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """Where sessions are kept."""

    url: str = setting(
        "embedded",
        "`embedded` (a private Valkey) or redis://, rediss://, unix:// with user and password",
        check=check_redis_url,
        secret=True,
    )
    data_dir: Path = setting(Path("data"), "where the embedded server keeps its data")
    max_memory: str = setting(
        HALF,
        "most memory of the embedded server: `half` of what the container or machine allows, or a size such as 512mb",
        check=check_max_memory,
    )
    key_prefix: str = setting(
        "jay",
        "first part of every key; short, as each key carries it",
        check=matching("[a-z0-9-]{1,16}", "1 to 16 of a-z, 0-9 and -"),
    )
    timeout_seconds: float = setting(
        0.25, "longest wait for a connection and for a reply, each", check=between(0.01, 10)
    )


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """What a session is here."""

    ttl_seconds: int = setting(86400, "lifetime of a session and of its cookie", check=between(1, 400 * 86400))
    source: str = setting(
        "jay.api.playout.1.0.0", "`source` of sessions whose API key has none of its own", check=check_source
    )
    user_secret: str = setting(
        DEVELOPMENT_USER_SECRET,
        "keys the hash under which a user's sessions are found; the same in all processes",
        check=check_user_secret,
        secret=True,
    )
    previous_user_secrets: tuple[str, ...] = setting(
        (),
        "values that `session.user_secret` had before; users' sessions are looked for under each of them too",
        check=each(check_user_secret),
        secret=True,
    )


@dataclass(frozen=True, kw_only=True)
class CookieSettings:
    """Attributes of the session cookie; `Secure` and `HttpOnly` are always set."""

    same_site: Literal["Lax", "Strict", "None"] = setting(
        "Lax", "`SameSite`: Lax, Strict, or None for pages of other sites"
    )
    domain: str | None = setting(
        None,
        "`Domain`; empty: the host that set it",
        check=check_cookie_domain,
    )
    path: str = setting("/", "`Path`", check=matching(r"/[A-Za-z0-9._~/-]*", "a path that begins with /"))
    partitioned: bool = setting(default=False, help_text="`Partitioned`, for embedded cross-site pages (CHIPS)")


@dataclass(frozen=True, kw_only=True)
class CorsSettings:
    """Web pages of other origins that may call the API."""

    origins: tuple[str, ...] = setting((), "exact origins, such as https://www.example.com", check=each(check_origin))
    request_headers: tuple[str, ...] = setting(
        (), "more request headers that pages may send, such as x-client-version", check=check_request_headers
    )
    max_age_seconds: int = setting(600, "how long a browser may remember a preflight", check=between(0, 86400))


@dataclass(frozen=True, kw_only=True)
class AnalyticsSettings:
    """What is counted, and for how long the counts are kept."""

    retention_days: int = setting(90, "how long counts are kept", check=between(1, MAX_RETENTION_DAYS))
    top_users: int = setting(
        100, "users kept per day and shard in the list of the most active", check=between(10, 1000)
    )


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """Metrics for Prometheus."""

    enabled: bool = setting(default=True, help_text="count requests, sessions and calls of Redis, for /metrics")


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Log lines, all to standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "debug, info, warning or error; a line per request is info"
    )
    format: Literal["auto", "json", "text"] = setting("auto", "json, text, or auto: text in a terminal, else json")


@dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """Traces by OpenTelemetry, which is an optional extra; its own OTEL_ variables say the rest."""

    otlp_endpoint: str | None = setting(
        None,
        "collector of traces (OTLP over HTTP), such as http://collector:4318; empty: none",
        check=check_otlp_endpoint,
    )
    sample_ratio: float = setting(
        1.0, "share of requests that are traced; one that belongs to a trace follows it", check=between(0, 1)
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings."""

    environment: Literal["development", "production"] = setting(
        "development", "production refuses demo keys and development secrets"
    )
    server: ServerSettings = field(default_factory=ServerSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    cookie: CookieSettings = field(default_factory=CookieSettings)
    cors: CorsSettings = field(default_factory=CorsSettings)
    analytics: AnalyticsSettings = field(default_factory=AnalyticsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    api_keys: tuple[ApiKey, ...] = setting((), "who may call; see config.yaml for an entry's members")
