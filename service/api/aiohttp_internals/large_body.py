"""Sends a large body in pieces, each after the client has read most of those before.

A copy of the body for each slow client
---------------------------------------
Without it: aiohttp passes the whole body to the connection, which keeps a copy of what
    the client has not read. 200 slow readers of a file of 1.7 MB took 350 MB of memory.
Upstream: none found.
Versions: 3.14.
Test: tests/api/test_connection_timeouts.py
    test_a_large_body_is_sent_in_pieces
Can go when: aiohttp limits the bytes that it passes to a connection.
"""

from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

MIN_BYTES = 65_536
_PIECE_BYTES = 32_768


class LargeBody(Payload):
    """A body of at least MIN_BYTES. All responses can share its bytes."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as a string."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body. aiohttp's writer waits while the client is slow."""
        view = memoryview(self._value)
        for start in range(0, len(view), _PIECE_BYTES):
            await writer.write(view[start : start + _PIECE_BYTES])
