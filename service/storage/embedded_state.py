"""Questions to a server that may still be starting, and the command that stops it. None of them waits long."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

# The supervisor asks between two looks at its workers, so that a hung server must not hold it up.
_REPLY_SECONDS = 0.2


@dataclass(frozen=True)
class Loading:
    """The server reads its data and refuses other commands."""

    loaded_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        total = max(self.total_bytes, self.loaded_bytes, 1)
        return f"{self.loaded_bytes / total:.0%} of {total / 2**20:,.0f} MiB"


@dataclass(frozen=True)
class Ready:
    """The server takes commands."""


def look(socket: Path) -> Loading | Ready | None:
    """Return how far the server is, None when it does not answer."""
    with closing(_client(socket)) as client:
        try:
            info = client.info("persistence")
        except (exceptions.RedisError, OSError):
            return None
    if not info.get("loading"):
        return Ready()
    return Loading(int(info.get("loading_loaded_bytes", 0)), int(info.get("loading_total_bytes", 0)))


def ask_to_stop(socket: Path) -> bool:
    """Have the server flush its files and exit; return whether it has taken the command."""
    with closing(_client(socket)) as client:
        try:
            client.shutdown(nosave=True)  # the append-only file has everything
        except (exceptions.RedisError, OSError):
            return False
    return True


def _client(socket: Path) -> Redis:
    return Redis(
        unix_socket_path=str(socket),
        socket_timeout=_REPLY_SECONDS,
        socket_connect_timeout=_REPLY_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )
