"""One row of the tables of attacks: bytes, and the answers that they have to get."""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from tests.support.processes import KEY, PATH, TOKEN

ORIGIN = "https://app.example.com"
FRONTS = ("direct", "nginx", "haproxy")

# A secret of an attacker's request. No answer and no log line may repeat it.
CANARY = "canary5e55"
# In its place, the test puts the id of a live session, which no attack may end.
VICTIM = "vvvvvvvv-0000-4000-8000-000000000000"

# In place of an answer.
OPEN = b"\nHTTP/1.1 ... the connection is open"
_ANSWER = re.compile(rb"(?:^|(?<=\n)|(?<=[}>]))HTTP/1\.[01] (\d{3}|\.{3}) ")


@dataclass(frozen=True)
class Attack:
    """Bytes that a client sends, and the statuses of the answers until the close.

    `fault` is the row of the table of faults. The three fields after the bytes are the
    expected statuses without a proxy, behind nginx and behind HAProxy. "" means that
    the connection is closed without an answer. `has` and `lacks` are bytes that each
    answer of the service has or lacks. After `seconds` the connection counts as open,
    which is the status `...`.
    """

    fault: str
    data: bytes
    direct: str
    nginx: str
    haproxy: str
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()
    seconds: float = 30.0


def head(method: str, *lines: str, path: str = PATH, key: str | None = KEY) -> bytes:
    """Return the head of a request, without the empty line at its end."""
    given = [f"{method} {path} HTTP/1.1", "Host: x", *([f"X-API-Key: {key}"] if key else []), *lines]
    return "\r\n".join([*given, ""]).encode("utf-8", "surrogateescape")


def ask(method: str, *lines: str, path: str = PATH, key: str | None = KEY) -> bytes:
    """Return a request without a body."""
    return head(method, *lines, path=path, key=key) + b"\r\n"


def post(body: bytes, *lines: str, kind: str = "application/json") -> bytes:
    """Return a creation with a body."""
    return head("POST", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines) + b"\r\n" + body


# Attackers want the service to read this request, which they hide in another one.
HIDDEN = ask("DELETE", f"{TOKEN}: {VICTIM}", f"X-Y: {CANARY}")
LAST = ask("GET", "Connection: close")  # 404, then the connection ends


async def answers_of(url: str, data: bytes, seconds: float = 30.0) -> list[bytes]:
    """Send bytes, and return the answers until the connection is closed.

    The last answer is OPEN when the connection is not closed in time.
    """
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    received = b""
    is_open = True
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                with suppress(ConnectionError):
                    writer.write(data)
                    while more := await reader.read(65536):
                        received += more
                is_open = False
    finally:
        writer.close()
    received += OPEN * is_open
    starts = [found.start() for found in _ANSWER.finditer(received)]
    return [received[start:end] for start, end in pairwise([*starts, len(received)])]


def status_of(answer: bytes) -> str:
    """Return the status of an answer."""
    return answer[9:12].decode()
