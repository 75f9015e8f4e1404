"""The settings of metrics, log and traces, in sections of `settings.py`."""

from dataclasses import dataclass
from typing import Literal

from service.config.declaration import setting
from service.config.value_checks import Between, check_otlp_endpoint


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """Metrics for Prometheus."""

    enabled: bool = setting(default=True, help_text="count requests, sessions and calls to Redis, for /metrics")


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Log lines, all to standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "debug, info, warning or error. Request lines have the level info"
    )
    format: Literal["auto", "json", "text"] = setting(
        "auto", "json, text, or auto: text in a terminal and json elsewhere"
    )
    session_ref: bool = setting(default=False, help_text="add the session's ref to the log lines of requests")


@dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """Traces by OpenTelemetry, which is an optional extra.

    OpenTelemetry's own OTEL_ variables set everything else.
    """

    otlp_endpoint: str | None = setting(
        None,
        "collector of traces (OTLP over HTTP), such as http://collector:4318. No traces when empty",
        check=check_otlp_endpoint,
    )
    sample_ratio: float = setting(
        1.0,
        "share of requests that are traced. A request with `traceparent` is traced if its caller is",
        check=Between(0, 1),
    )
    session_ref: bool = setting(default=False, help_text="add the session's ref to the spans of requests")
