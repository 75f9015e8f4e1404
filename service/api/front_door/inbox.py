"""The bytes of a client that wait until its earlier requests are answered."""

import asyncio

# Reading pauses above this size. One read may add 256 KiB to it.
MAX_KEPT_BYTES = 65_536


class Inbox:
    """Keeps bytes, and pauses reading when it has too many."""

    __slots__ = ("_is_paused", "_kept", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport: asyncio.Transport | None = transport
        self._is_paused = False
        self._kept = b""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def is_in_use(self) -> bool:
        """Whether bytes are kept or reading is paused."""
        return self._is_paused or bool(self._kept)

    def add(self, data: bytes) -> None:
        """Append bytes."""
        self._kept += data
        if len(self._kept) > MAX_KEPT_BYTES:
            self.pause()

    def take(self) -> bytes:
        """Return the kept bytes and forget them."""
        data, self._kept = self._kept, b""
        return data

    def pause(self) -> None:
        """Stop reading from the socket."""
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read from the socket again, unless too many bytes are kept."""
        if self._is_paused and self._transport is not None and len(self._kept) <= MAX_KEPT_BYTES:
            self._is_paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Forget the bytes and the connection."""
        self._kept = b""
        self._transport = None
