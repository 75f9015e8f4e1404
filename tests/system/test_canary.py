"""After an erasure the user id is in no key, log, file or metric."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import redis

from tests.support.processes import KEY, PATH, TOKEN, Launch, Process, eventually

OPERATOR = "demo-operator-key"
CANARY = "canary-user-7f3a"


def create(process: Process) -> str:
    return send_user(process, "POST", PATH)


def send_user(process: Process, method: str, path: str, session_id: str = "") -> str:
    """Send the canary as user id, and return the id of the session."""
    request = urllib.request.Request(  # noqa: S310 - our own URL
        process.url + path,
        method=method,
        headers={"X-API-Key": KEY, "Content-Type": "application/json", TOKEN: session_id},
        data=json.dumps({"user_id": CANARY}).encode(),
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return str(json.load(response)["session_id"])


def everything_in(client: Any) -> dict[bytes, object]:
    """Return all keys and values of a Redis, of any type."""
    readers = {b"string": "GET", b"hash": "HGETALL", b"set": "SMEMBERS"}
    found: dict[bytes, object] = {}
    for key in client.scan_iter():
        kind = client.type(key)
        words = ("ZRANGE", key, 0, -1) if kind == b"zset" else (readers[kind], key)
        found[key] = client.execute_command(*words)
    return found


def command_logs(client: Any) -> str:
    logs = ("slow", "large-request", "large-reply")
    entries = [client.execute_command("COMMANDLOG", "GET", -1, name) for name in logs]
    return repr([*entries, client.execute_command("SLOWLOG", "GET", -1)])


def test_an_erased_user_id_is_found_nowhere(launch: Launch, tmp_path: Path) -> None:
    """An erased user id is found nowhere, and session ids only in tombstones."""
    process = launch()
    ids = [create(process) for _ in range(200)]
    base = "/v1/playouts/tracking"
    key = {"X_API_Key": OPERATOR}
    assert len(process.request("GET", f"{base}/users/{CANARY}/sessions", **key).json["sessions"]) == len(ids)
    for path in (f"{base}/analytics/users/{CANARY}", f"{base}/analytics/users", f"{base}/analytics/sessions"):
        assert process.request("GET", path, **key).status == 200
    with redis.Redis(unix_socket_path=str(tmp_path / "data" / "valkey.sock")) as client:
        assert CANARY in repr(everything_in(client))
        receipt = process.request("DELETE", f"{base}/users/{CANARY}", **key)
        assert receipt.json["erased_sessions"] == len(ids)
        found = everything_in(client)
        assert CANARY not in repr(found)
        assert CANARY not in command_logs(client)
        for name, value in found.items():
            if any(one in repr((name, value)) for one in ids):
                assert value == b"-"
                assert 0 < client.ttl(name) <= 60
        eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "a rewritten file")
    files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert any("aof" in file.name for file in files)
    metrics = process.request("GET", "/metrics", **key)
    assert metrics.status == 200
    for content in (*(file.read_bytes() for file in files), metrics.body, "\n".join(process.log).encode()):
        assert CANARY.encode() not in content
    for written in (metrics.body.decode(), "\n".join(process.log), *process.output):
        assert not [one for one in ids if one in written]


def test_a_withdrawn_user_id_is_found_nowhere(launch: Launch, tmp_path: Path) -> None:
    """After each consent is withdrawn, no key, log line or metric has the user id."""
    process = launch()
    ids = [create(process) for _ in range(10)]
    for guest in [process.create() for _ in range(10)]:
        ids += [guest, send_user(process, "PUT", f"{PATH}/user", guest)]
    with redis.Redis(unix_socket_path=str(tmp_path / "data" / "valkey.sock")) as client:
        assert CANARY in repr(everything_in(client))
        for session_id in ids:
            assert process.request("DELETE", f"{PATH}/user", token=session_id).status == 200
        assert CANARY not in repr(everything_in(client))
    metrics = process.request("GET", "/metrics", X_API_Key=OPERATOR)
    for written in (metrics.body.decode(), *process.log, *process.output):
        assert CANARY not in written
        assert not [one for one in ids if one in written]
