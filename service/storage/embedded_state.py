"""Short commands to an embedded server that may still be starting or may hang."""

from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

# The supervisor waits for the reply, and does not watch its workers meanwhile.
_REPLY_SECONDS = 0.2


@dataclass(frozen=True)
class Loading:
    """The server loads its data and rejects other commands."""

    loaded_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        total = max(self.total_bytes, self.loaded_bytes, 1)
        return f"{self.loaded_bytes / total:.0%} of {total / 2**20:,.0f} MiB"


@dataclass(frozen=True)
class Ready:
    """The server accepts commands."""


def read_state(socket: Path) -> Loading | Ready | None:
    """Return the state of the server, or None when it does not answer."""
    with closing(_client(socket)) as client:
        try:
            info = client.info("persistence")
        except (exceptions.RedisError, OSError):
            return None
    if not info.get("loading"):
        return Ready()
    return Loading(int(info.get("loading_loaded_bytes", 0)), int(info.get("loading_total_bytes", 0)))


def request_shutdown(socket: Path) -> None:
    """Let the server flush its files and exit, if it answers."""
    # The caller kills a server that does not exit.
    with closing(_client(socket)) as client, suppress(exceptions.RedisError, OSError):
        client.shutdown(nosave=True)  # the append-only file has all data


def _client(socket: Path) -> Redis:
    return Redis(
        unix_socket_path=str(socket),
        socket_timeout=_REPLY_SECONDS,
        socket_connect_timeout=_REPLY_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )
