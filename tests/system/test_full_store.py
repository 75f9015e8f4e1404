"""The embedded server when its memory is full."""

from pathlib import Path

import redis

from service.storage.memory_limit import allowed_bytes
from tests.support.processes import Answer, Launch, Process, eventually


def client_of(tmp_path: Path) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(tmp_path / "data" / "valkey.sock"), decode_responses=True)


def fill(client: "redis.Redis") -> None:
    """Write until the server refuses writes."""
    for size in (100_000, 1_000, 10):
        for number in range(10_000):
            try:
                client.set(f"filler:{size}:{number}", "x" * size)
            except redis.exceptions.OutOfMemoryError:
                break
        else:
            raise AssertionError("the server has no limit")


def refusal(process: Process) -> Answer | None:
    """Return the answer to a POST, or None if it was accepted.

    Buffers count too, so a server that is nearly full may still accept some writes.
    """
    answer = process.request("POST")
    return answer if answer.status == 503 else None


def test_a_full_embedded_server_refuses_sessions_and_keeps_those_it_has(launch: Launch, tmp_path: Path) -> None:
    """A full server refuses POST, still serves GET and DELETE, and recovers."""
    process = launch(JAY_REDIS__MAX_MEMORY="8mb")
    kept, ended = process.create(), process.create()
    valkey = process.valkey_pid
    with client_of(tmp_path) as client:
        fill(client)
        answer = eventually(lambda: refusal(process), "a refusal")
        assert answer.json["type"] == "urn:jay:problem:store-unavailable"
        assert answer.headers["Retry-After"]
        assert process.status_of(kept) == 200
        assert process.request("DELETE", token=ended).status == 204
        assert process.status_of(ended) == 404
        assert process.request("GET", "/livez").status == 200
        client.delete(*client.scan_iter("filler:*", count=1000))
    eventually(lambda: process.request("POST").status == 201, "room again")
    assert process.status_of(kept) == 200
    assert process.valkey_pid == valkey


def test_by_default_the_embedded_server_takes_half_of_what_is_allowed(launch: Launch, tmp_path: Path) -> None:
    """The default memory limit is half of the allowed memory and is reported."""
    process = launch()
    with client_of(tmp_path) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(allowed_bytes() // 2)
    state = process.request("GET", "/v1/playouts/tracking/analytics/store", X_API_Key="demo-operator-key").json
    assert state["memory_limit_bytes"] == allowed_bytes() // 2
    assert state["may_evict"] is False
