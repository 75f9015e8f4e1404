"""Where the requests of a connection end in its bytes.

aiohttp's parser does not say whether it is in the middle of a head. The clock for slow heads has to know: a head may
begin in the same packet as the end of the request before it.
"""

import sys

from aiohttp import EMPTY_PAYLOAD, StreamReader, hdrs
from aiohttp.http import RawRequestMessage

_HEAD_END = b"\r\n\r\n"
_LINE_END = b"\r\n"
_TO_THE_END = sys.maxsize


class Framing:
    """Follows the bytes of one connection from request to request.

    `open_head` holds the bytes received since the end of the last whole request, without the line ends that the
    parser skips before a request line. They are at most what the parser accepts as one head, and the requests that
    it has not parsed yet because its queue is full.
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
        """Return whether `data`, of which one request was parsed, is this request and nothing else.

        Most requests have no body and arrive in one packet. For these, `add` and `take` have nothing to do.
        """
        return payload is EMPTY_PAYLOAD and not self._body_left and not self.open_head and data.endswith(_HEAD_END)

    def add(self, data: bytes) -> None:
        """Take received bytes into account."""
        if self._body_left >= len(data):
            self._body_left -= len(data)
            return
        data = data[self._body_left :]
        self._body_left = 0
        self.open_head += data if self.open_head else data.lstrip(_LINE_END)

    def take(self, message: RawRequestMessage) -> None:
        """Cut off the request that the parser found first in the bytes added."""
        if message.chunked or message.upgrade:
            self._body_left = _TO_THE_END  # the connection ends after this request
            self.open_head.clear()
            return
        end = self.open_head.find(_HEAD_END)
        end = len(self.open_head) if end < 0 else end + len(_HEAD_END)
        end += int(message.headers.get(hdrs.CONTENT_LENGTH, 0))
        self._body_left = max(0, end - len(self.open_head))
        self.open_head = self.open_head[end:].lstrip(_LINE_END)
