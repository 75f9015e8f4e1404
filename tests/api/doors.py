"""Compares the answers of the front door with those of aiohttp and the handlers.

Two services use one Valkey. Each has its own key prefix, and both have the same
sessions. One has the front door, and in the other aiohttp reads every byte. Both get
the same bytes. Their answers, log records and keys in Redis have to be the same, apart
from random ids and times.
"""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis.asyncio

from tests.support.processes import KEY, PATH, TOKEN

if TYPE_CHECKING:
    from tests.api.conftest import Service

A, B, USER = (f"{letter * 8}-0000-4000-8000-000000000001" for letter in "abc")
ABSENT = "dddddddd-0000-4000-8000-00000000000d"
BODY = b'{"user_id": "user-123"}'
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SECONDS = 30.0

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_VARIABLE = (
    (re.compile(rb"Date: [^\r]+ GMT"), b"Date: <date>"),
    (re.compile(rb"X-Request-Id: [0-9a-f]{16}\r"), b"X-Request-Id: <request>\r"),
    (re.compile(rb'"request_id":"[0-9a-f]{16}"'), b'"request_id":"<request>"'),
    (re.compile(rb'"(start_time|started_at|expires_at)":("[^"]+"|[0-9.]+)'), rb'"\1":<time>'),
    # Of a new session. That of a known session is the same in both services.
    (re.compile(rb"(SameSite=Lax\r\nX-Jay-Session-Expires: )[^\r]+"), rb"\1<time>"),
    (re.compile(rb"Retry-After: [0-9]{2,}"), b"Retry-After: <seconds>"),
    # A repeated creation gets the rest of the lifetime.
    (re.compile(rb"Max-Age=86(400|3[0-9]{2})"), b"Max-Age=<seconds>"),
)
_KNOWN = {one.encode() for one in (A, B, USER, ABSENT)}


def request(
    method: str = "GET",
    *lines: str,
    path: str = PATH,
    key: str | None = KEY,
    body: bytes = b"",
    host: str = "Host: x",
) -> bytes:
    """Return a request.

    A body adds its length, and a media type unless the lines have one.
    """
    given = [host, *([f"X-API-Key: {key}"] if key is not None else []), *lines]
    if body:
        given.append(f"Content-Length: {len(body)}")
        if not any(line.lower().startswith("content-type") for line in lines):
            given.append("Content-Type: application/json")
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *given])
    return head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def cookie(value: str) -> str:
    """Return the `Cookie` line of the session cookie."""
    return f"Cookie: {TOKEN}={value}"


def normalized(answer: bytes) -> bytes:
    """Return an answer with placeholders for its ids and times."""
    for pattern, text in _VARIABLE:
        answer = pattern.sub(text, answer)
    return _UUID.sub(lambda found: found[0] if found[0] in _KNOWN else b"<id>", answer)


async def turns(count: int = 4) -> None:
    """Let the service read the bytes: the event loop looks at sockets once a turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def exchange(port: int, packets: Iterable[bytes], *, half_close: bool = False) -> bytes:
    """Send packets one by one, and return what comes back until the service closes."""
    loop, received = asyncio.get_running_loop(), b""
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(SECONDS):
            await loop.sock_connect(client, ("127.0.0.1", port))
            # The service may close before it has read everything.
            with suppress(ConnectionError):
                for packet in packets:
                    await loop.sock_sendall(client, packet)
                    await turns()
                if half_close:
                    client.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while data := await loop.sock_recv(client, 65536):
                    received += data
    return received


@dataclass
class Doors:
    """Both services."""

    front: "Service"
    aiohttp: "Service"
    store: "redis.asyncio.Redis"
    prefixes: tuple[str, str]

    async def answers(self, *packets: bytes, half_close: bool = False, name: object = "") -> bytes:
        """Send packets to both services, check for equal answers, return one."""
        both = [
            normalized(await exchange(service.port, packets, half_close=half_close))
            for service in (self.front, self.aiohttp)
        ]
        assert both[0] == both[1], (name or packets, *both)
        return both[0]

    async def check_in_packets(self, *packets: bytes, name: object = "") -> bytes:
        """Check that the front door answers one packet as aiohttp answers several."""
        front = normalized(await exchange(self.front.port, [b"".join(packets)]))
        aiohttp = normalized(await exchange(self.aiohttp.port, packets))
        assert front == aiohttp, (name, front, aiohttp)
        return front

    async def check_all(self, requests: Mapping[str, bytes]) -> dict[str, int]:
        """Send each request with another one after it, and compare all effects.

        Returns the statuses of the first answers.
        """
        statuses = {}
        for name, one in requests.items():
            answer = await self.answers(one + LAST, name=name)
            statuses[name] = int(answer.split(b" ", 2)[1]) if answer else 0
        await self.check_effects()
        return statuses

    async def check_effects(self, *, with_keys: bool = True) -> None:
        """Check that both made the same log records, counts and, with Redis, keys."""
        records = [
            [(line["method"], line["route"], line["status"], line["key"]) for line in service.log_lines()]
            for service in (self.front, self.aiohttp)
        ]
        assert records[0] == records[1], [pair for pair in zip(*records, strict=False) if pair[0] != pair[1]]
        counts = [await _counts(service) for service in (self.front, self.aiohttp)]
        assert counts[0] == counts[1], counts
        if not with_keys:
            return
        front, aiohttp = [await self._keys(prefix) for prefix in self.prefixes]
        assert front == aiohttp, (front, aiohttp)

    async def _keys(self, prefix: str) -> tuple[Counter[tuple[str, str]], set[tuple[str, str]]]:
        """Return the numbers of session and user keys, and the names of the others.

        Each key has its Redis type.
        """
        one_by_one: Counter[tuple[str, str]] = Counter()
        kinds: set[tuple[str, str]] = set()
        async for key in self.store.scan_iter(match=f"{prefix}*", count=1000):
            name = key.decode().partition("}")[2]
            if name.startswith("test:"):
                continue  # a key of the service's self-test
            kind = str(await self.store.type(key))
            if _UUID.fullmatch(name.encode()):
                one_by_one[name if name.encode() in _KNOWN else "<id>", kind] += 1
            elif name.startswith("user:"):
                one_by_one[name, kind] += 1
            else:
                kinds.add((re.sub(r"[0-9]+", "<n>", name), kind))
        return one_by_one, kinds

    async def put_sessions(self) -> None:
        """Store the sessions A, B and USER in both keyspaces."""
        source, target = self.prefixes
        for session_id, user in ((A, None), (B, None), (USER, "user-1")):
            await put_session(self.front, session_id, user)
        async for key in self.store.scan_iter(match=f"{source}*"):
            content, left = await self.store.dump(key), await self.store.pttl(key)
            assert content is not None
            await self.store.restore(target + key.decode().removeprefix(source), left, content, replace=True)


async def _counts(service: "Service") -> list[str]:
    """Return the metrics that count sessions."""
    response = await service.request("GET", "/metrics", headers={"X-API-Key": "operator-key"})
    text = await response.text()
    return sorted(re.findall(r"^jay_(?:sessions|forward_auth)\w*_total.+", text, re.MULTILINE))


async def put_session(service: "Service", session_id: str, user_id: str | None) -> None:
    """Create a session of a known id through the store of a service."""
    fast_path = service.runner._fast_path
    assert fast_path is not None
    session = fast_path._creations._factory.new("app", user_id)._replace(id=session_id)
    assert await fast_path._sessions.create(session)
