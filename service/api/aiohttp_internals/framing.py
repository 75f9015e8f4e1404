"""Finds where the requests of a connection end in its bytes.

No sign of an incomplete head
-----------------------------
Without it: aiohttp's parser does not say if it has received a part of a head. If a head
    begins in the same packet as the end of the last request, it would get the 75 s of
    an idle connection and not 15 s.
Upstream: none found.
Versions: 3.14.
Test: tests/api/test_connection_timeouts.py
    test_a_head_that_stalls_ends_the_connection
Can go when: aiohttp has a deadline for heads, or its parser reports an incomplete head.
"""

import sys

from aiohttp import EMPTY_PAYLOAD, StreamReader, hdrs
from aiohttp.http import RawRequestMessage

_HEAD_END = b"\r\n\r\n"
_LINE_END = b"\r\n"
_TO_THE_END = sys.maxsize


class Framing:
    """Follows the bytes of one connection from request to request.

    `open_head` holds the bytes since the end of the last whole request, without the
    line ends that the parser skips before a request line. It is at most one head, plus
    the requests that the parser leaves because its queue is full.
    """

    __slots__ = ("_body_left", "open_head")

    def __init__(self) -> None:
        self._body_left = 0  # bytes of the last request's body that have not arrived
        self.open_head = bytearray()

    @property
    def is_at_rest(self) -> bool:
        """Whether the next byte begins a request."""
        return not self.open_head and not self._body_left

    def is_whole_request(self, data: bytes, payload: StreamReader) -> bool:
        """Return whether `data` is exactly the one request that was parsed from it.

        This is so for most requests, which have no body and arrive in one packet. They
        need no calls of `add` and `take`.
        """
        return payload is EMPTY_PAYLOAD and not self._body_left and not self.open_head and data.endswith(_HEAD_END)

    def add(self, data: bytes) -> None:
        """Add received bytes."""
        if self._body_left >= len(data):
            self._body_left -= len(data)
            return
        data = data[self._body_left :]
        self._body_left = 0
        self.open_head += data if self.open_head else data.lstrip(_LINE_END)

    def take(self, message: RawRequestMessage) -> None:
        """Remove the first request in the added bytes. `message` is its parsed head."""
        if message.chunked or message.upgrade:
            self._body_left = _TO_THE_END  # the connection ends after this request
            self.open_head.clear()
            return
        end = self.open_head.find(_HEAD_END)
        end = len(self.open_head) if end < 0 else end + len(_HEAD_END)
        end += int(message.headers.get(hdrs.CONTENT_LENGTH, 0))
        self._body_left = max(0, end - len(self.open_head))
        self.open_head = self.open_head[end:].lstrip(_LINE_END)
