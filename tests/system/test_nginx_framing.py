"""nginx and the front door agree where a request ends."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.api.front_door.heads import read_head
from tests.api.doors import request
from tests.api.front_door_contents import CONTENTS
from tests.api.front_door_heads import HEADS
from tests.support.nginx import NGINX, start_nginx
from tests.support.processes import Launch, Process

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [A-Z][^\r]*\r\n")
HIDDEN = request("DELETE")
LAST = request("GET", "Connection: close")
SMUGGLED = {
    "two lengths": request("POST", "Content-Length: 0", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
    "length and chunks": request("POST", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    "signed length": request("POST", "Content-Length: +0") + HIDDEN,
    "length with a space": request("POST", "Content-Length : 0") + HIDDEN,
    "folded length": request("POST", "Content-Length:\r\n 0") + HIDDEN,
    "empty length": request("POST", "Content-Length:") + HIDDEN,
    "unknown coding": request("POST", "Transfer-Encoding: x") + HIDDEN,
    "odd coding": request("POST", "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + HIDDEN,
    "NUL": request("POST", "X-Y: a\0") + HIDDEN,
}


async def statuses_of(url: str, data: bytes) -> list[int]:
    """Send bytes, and return the statuses of all answers until the connection ends."""
    host, _, port = urlsplit(url).netloc.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    writer.write(data)
    try:
        async with asyncio.timeout(30):
            with suppress(ConnectionError):
                while more := await reader.read(65536):
                    received += more
    finally:
        writer.close()
    return [int(status) for status in _STATUS.findall(received)]


@pytest.fixture
def services(launch: Launch, tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    """A service, and an nginx in front of it."""
    service = launch()
    front = start_nginx(tmp_path / "nginx", service.url)
    yield service, front
    front.popen.terminate()
    front.popen.wait()


async def test_each_request_that_the_door_takes_is_one_for_nginx(services: tuple[Process, Process]) -> None:
    """nginx forwards each such request as one request, with the same status."""
    service, front = services
    corpora = (HEADS | CONTENTS).values()
    taken = {
        name: one
        for corpus in corpora
        for name, one in corpus.items()
        if (head := read_head(one))
        and b"/livez" not in one  # nginx does not forward that path
        and head[2].get(b"connection", b"keep-alive").lower() == b"keep-alive"
    }
    assert len(taken) > 200
    for name, one in taken.items():
        direct, forwarded = [await statuses_of(url, one + LAST) for url in (service.url, front.url)]
        # The service closes after some errors, but nginx keeps its connection. nginx
        # rejects some heads that the service takes.
        both = direct if len(direct) > 1 else [*direct, 404]
        allowed = [both, [400]]
        if one.count(b"\r\n") > 60 or len(one) > 7900:
            allowed.append([431, 404])  # nginx adds headers, so the head is too large
        assert forwarded in allowed, (name, both, forwarded)


@pytest.mark.parametrize("name", SMUGGLED)
async def test_nothing_is_smuggled_past_nginx(services: tuple[Process, Process], name: str) -> None:
    """An ambiguous request is rejected, and hidden ones are not answered."""
    for process in services:
        (status,) = await statuses_of(process.url, SMUGGLED[name] + LAST)
        assert status in {400, 501}, process
