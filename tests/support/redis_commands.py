"""Single commands for the servers of tests, and waiting until they answer as wished."""

import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis

from tests.support.servers import FakeRedisServer, RedisServer

Result = TypeVar("Result")

DEADLINE_SECONDS = 30.0
_POLL_SECONDS = 0.02


def wait_until(check: Callable[[], Result | None], what: str, seconds: float = DEADLINE_SECONDS) -> Result:
    """Return the first true result of `check`, and fail after the deadline.

    Errors of servers that do not answer count as false.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := check():
                return result
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            pass
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(_POLL_SECONDS)


class _Connection(redis.Connection):
    """A connection to a server of a test, with TLS if the server has it.

    redis-py's own connection with TLS reads the authorities of the system each time.
    """

    def __init__(self, server: RedisServer | FakeRedisServer, **options: Any) -> None:
        super().__init__(port=server.port, **options)  # type: ignore[no-untyped-call]  # the library's
        self._server = server

    def _connect(self) -> socket.socket:
        connection = super()._connect()  # type: ignore[no-untyped-call]  # the library's
        return connection if isinstance(self._server, FakeRedisServer) else self._server.secured(connection)


def ask(server: RedisServer | FakeRedisServer, *command: str | int) -> Any:
    """Run one command on a server and return its reply as Redis sends it."""
    connection: Any = _Connection(server, protocol=2, decode_responses=True, socket_timeout=DEADLINE_SECONDS)
    try:
        connection.send_command(*command)
        return connection.read_response()
    finally:
        connection.disconnect()


def remove_all_keys(server: RedisServer | FakeRedisServer) -> None:
    """Remove the keys of a test, so that the scans of later tests do not read them."""
    assert ask(server, "FLUSHALL") == "OK"


def info(server: RedisServer, section: str) -> dict[str, str]:
    """Return a section of INFO."""
    return fields(ask(server, "INFO", section))


def fields(reply: str) -> dict[str, str]:
    """Return the fields of a reply like that of INFO."""
    return dict(line.split(":", 1) for line in reply.splitlines() if ":" in line)


def is_primary(server: RedisServer) -> bool:
    """Return whether a server accepts writes."""
    return info(server, "replication")["role"] == "master"


def is_replica_in_sync(server: RedisServer, primary: RedisServer) -> bool:
    """Return whether a server replicates a primary and has its data."""
    state = info(server, "replication")
    return (
        state["role"] == "slave"
        and state["master_port"] == str(primary.port)
        and state["master_link_status"] == "up"
        and state["master_sync_in_progress"] == "0"
    )
