"""The options of a client."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import uniform
from ssl import SSLContext
from time import monotonic
from urllib.parse import urlsplit

_VISIBLE = re.compile("[!-~]+")
# White space and control characters, and the start of a query or a fragment.
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0?#]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a client waits, repeats and remembers. All times are in seconds.

    `total_seconds` limits a call with all its attempts and pauses, and
    `connect_seconds` one connection. Pauses between attempts are random. The first has
    at most `pause_seconds`, and the limit doubles up to `max_pause_seconds`.
    `cache_seconds` is how long a lookup may be remembered, and 0 turns the cache off. A
    session that ends elsewhere is live for a client with a cache for up to this time.
    `coalesce_seconds` is how long the asyncio client collects ids for one lookup, and 0
    means one turn of the event loop. `ssl_context` is for a service whose certificate
    is from a private authority.
    """

    total_seconds: float = 5.0
    connect_seconds: float = 1.0
    attempts: int = 3
    pause_seconds: float = 0.1
    max_pause_seconds: float = 2.0
    cache_seconds: float = 0.0
    cache_size: int = 10_000
    coalesce_seconds: float = 0.002
    max_connections: int = 10
    ssl_context: SSLContext | None = field(default=None, repr=False)
    clock: Callable[[], float] = field(default=monotonic, repr=False)
    chance: Callable[[float, float], float] = field(default=uniform, repr=False)  # noqa: S311 - it spreads retries


@dataclass(frozen=True, slots=True)
class Target:
    """The service: its URL without a path, or with the prefix of a proxy, and the key.

    Raises ValueError, without the value, because it may be a secret.
    """

    url: str
    api_key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _is_service_url(self.url):
            raise ValueError("url must be like https://tracking.example.com, without credentials, query and fragment")
        if not _VISIBLE.fullmatch(self.api_key or "") or "," in self.api_key:
            raise ValueError("api_key must be visible ASCII characters without a comma")
        object.__setattr__(self, "url", self.url.rstrip("/"))


def _is_service_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its message has parts of the URL
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and port != 0
        and "@" not in parts.netloc
        and not _NOT_IN_URL.search(url)
        and parts.path.isascii()
    )
