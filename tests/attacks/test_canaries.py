"""Secrets in every place of every request, and a search for them in all output.

`tests/system/test_canary.py` looks for an erased user id in Redis and its files.
"""

import asyncio
import json
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.api.handlers.openapi import openapi_document
from service.api_keys import Scope, hash_key
from tests.attacks.attack import answers_of, ask, head, status_of
from tests.support.haproxy import HAPROXY, start_haproxy
from tests.support.nginx import NGINX, start_nginx
from tests.support.processes import KEY as DEMO_KEY
from tests.support.processes import PATH, TOKEN, Launch, Process, eventually
from tests.support.servers import RedisServer, binaries

pytestmark = pytest.mark.skipif(NGINX is None or HAPROXY is None, reason="nginx or HAProxy is not installed")

CANARY = "canary7d1c"
KEY, USER = f"{CANARY}-key", f"{CANARY}-user"
PASSWORD, SECRET = f"{CANARY}-password", f"{CANARY}-secret"
LOOKUP = "/v1/playouts/tracking/sessions/lookup"
USERS = "/v1/playouts/tracking/users"
CLOSE = "Connection: close"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FROB")
BODIES = (
    json.dumps({"user_id": USER}),
    json.dumps({f"{CANARY} x": USER}),
    json.dumps({"session_ids": [USER, CANARY]}),
    json.dumps({"session_ids": CANARY}),
    f'{{"user_id": "{CANARY}',
    CANARY,
)


@dataclass
class Deployment:
    """A service with its Redis, both proxies, and the folder of all their output."""

    service: Process
    redis: RedisServer
    fronts: dict[str, Process]
    folder: Path

    def written(self) -> Iterator[tuple[Path, bytes]]:
        """Yield all logs, temporary files and other output."""
        for file in self.folder.rglob("*"):
            is_configuration = file.suffix in {".conf", ".cfg", ".pem"}
            if file.is_file() and not is_configuration and "redis" not in file.parts:
                yield file, file.read_bytes()


@pytest.fixture
def deployment(launch: Launch, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment in which every secret has the canary."""
    temporary, data = tmp_path / "temporary", tmp_path / "redis"
    temporary.mkdir()
    data.mkdir()
    with RedisServer(binaries()["valkey"], data, "--requirepass", PASSWORD) as server:
        service = launch(
            JAY_API_KEYS=json.dumps(
                [
                    {"name": "all", "sha256": hash_key(KEY), "scopes": [*Scope]},
                    {"name": "demo", "sha256": hash_key(DEMO_KEY), "scopes": ["track"]},
                ]
            ),
            JAY_REDIS__URL=f"redis://default:{PASSWORD}@127.0.0.1:{server.port}/0",
            JAY_SESSION__USER_SECRET=SECRET,
            JAY_LOG__LEVEL="debug",
            TMPDIR=str(temporary),
        )
        proxies = {
            "nginx": start_nginx(tmp_path / "nginx", service.url),
            "haproxy": start_haproxy(tmp_path / "haproxy", service.url),
        }
        yield Deployment(service, server, {"direct": service, **proxies}, tmp_path)
        for proxy in proxies.values():
            proxy.stop()


def requests(session_id: str) -> Iterator[bytes]:
    """Yield requests for all documented paths, with secrets in every place."""
    paths = [path.replace("{user_id}", USER) for path in openapi_document()["paths"]]
    lines = (f"{TOKEN}: {session_id}", f"Cookie: {TOKEN}={session_id}; a={CANARY}", f"X-Y: {CANARY}", CLOSE)
    for path in (*paths, f"{PATH}/{session_id}", f"/{CANARY}", f"{USERS}/{CANARY}%0a"):
        for method in METHODS:
            if (method, path) != ("DELETE", PATH):  # at the end
                yield ask(method, *lines, path=path, key=KEY)
        yield ask("GET", *lines, path=f"{path}?user={USER}&X-API-Key={KEY}&from={CANARY}", key=KEY)
        yield ask(
            "GET", *lines, f"Origin: https://{CANARY}.example", f"x-jay-api-version: {CANARY}", path=path, key=KEY
        )
        yield ask("GET", *lines, path=path, key=f"{KEY}x")
        yield ask("GET", *lines, f"Authorization: Bearer {KEY}", path=path, key=None)
        for body in BODIES if path in {PATH, LOOKUP} else ():
            length = f"Content-Length: {len(body)}"
            for kind in ("application/json", f"text/{CANARY}"):
                yield (
                    head("POST", *lines, f"Content-Type: {kind}", length, path=path, key=KEY)
                    + b"\r\n"
                    + body.encode()
                )
    yield ask("GET", f"{TOKEN}: {CANARY * 1000}", CLOSE, key=KEY)
    yield ask("GET", CLOSE, path=f"{PATH}?{CANARY * 600}", key=KEY)
    yield f"{CANARY} {USER}\r\n\r\n".encode()
    yield ask("GET", f"X-Y : {CANARY}", CLOSE, key=KEY)
    yield ask("GET", f"X-Y: {CANARY}\0", CLOSE, key=KEY)


async def send_all(deployment: Deployment, session_id: str, fronts: list[str]) -> list[str]:
    """Send all requests, and return the errors that repeat a secret."""
    found = []
    limit = asyncio.Semaphore(16)

    async def send(front: str, data: bytes) -> None:
        async with limit:
            answers = await answers_of(deployment.fronts[front].url, data)
        errors = [answer for answer in answers if status_of(answer) >= "400"]
        if any(secret.encode() in error for error in errors for secret in (CANARY, session_id)):
            found.append(f"{front}: {data!r}: {answers!r}")

    await asyncio.gather(*(send(front, data) for front in fronts for data in requests(session_id)))
    return found


def create(deployment: Deployment) -> str:
    """Create a session of the user with the canary."""
    created = deployment.service.request("POST", X_API_Key=KEY)
    assert created.status == 201
    return created.headers[TOKEN]


async def test_no_secret_is_in_any_output(deployment: Deployment) -> None:
    """No key, id, password or secret is in logs, errors, metrics or temporary files."""
    session_id = await asyncio.to_thread(create, deployment)
    everywhere = list(deployment.fronts)
    found = await send_all(deployment, session_id, everywhere)
    deployment.redis.signal(signal.SIGSTOP)
    found += await send_all(deployment, session_id, ["direct"])
    deployment.redis.signal(signal.SIGCONT)
    await asyncio.to_thread(
        eventually, lambda: deployment.service.request("GET", "/readyz", X_API_Key=None).status == 200, "ready"
    )
    metrics = deployment.service.request("GET", "/metrics", X_API_Key=KEY)
    assert metrics.status == 200
    deployment.redis.kill()
    found += await send_all(deployment, session_id, ["direct"])
    deployment.service.stop()
    found += await send_all(deployment, session_id, ["nginx", "haproxy"])
    for name in ("nginx", "haproxy"):
        deployment.fronts[name].stop()
    assert not found, found[0]
    outputs = dict(deployment.written())
    assert {"stderr", "stdout", "jay.log", "error.log"} <= {file.name for file in outputs}
    leaking = [
        name for name, content in outputs.items() if CANARY.encode() in content or session_id.encode() in content
    ]
    assert not leaking
    assert CANARY.encode() not in metrics.body
    assert session_id.encode() not in metrics.body
    # The requests have reached the logs.
    for name in ("nginx/jay.log", "haproxy/stdout", "process-0/stderr"):
        assert (deployment.folder / name).read_bytes().count(PATH.encode()) > 50, name


def large_lookup(front: Process) -> int:
    """Look up 1,000 ids, which takes a large body, and return the status."""
    body = json.dumps({"session_ids": [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1000)]})
    request = urllib.request.Request(  # noqa: S310 - our own URL
        front.url + LOOKUP,
        data=body.encode().ljust(65_536),
        headers={"X-API-Key": KEY, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            assert len(response.read()) > 30_000
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("without", "status"), [("", 200), ("client_body_buffer_size", 500)], ids=["shipped", "proof that it can fail"]
)
def test_nginx_writes_no_request_to_a_file(deployment: Deployment, tmp_path: Path, without: str, status: int) -> None:
    """The largest body passes nginx although it cannot write temporary files."""
    front = start_nginx(tmp_path / "other-nginx", deployment.service.url, without=without)
    for name in ("client_body", "proxy"):
        shutil.rmtree(tmp_path / "other-nginx" / name)
    try:
        assert large_lookup(front) == status
    finally:
        front.stop()
