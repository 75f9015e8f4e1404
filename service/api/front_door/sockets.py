"""Facts about a connection that asyncio or the kernel knows."""

import asyncio
import fcntl
import select
import sys
import termios

# Unread bytes are checked again after this time. The event loop reads them in its next
# turn, far sooner.
RECHECK_SECONDS = 0.05


def has_unread_bytes(transport: asyncio.BaseTransport | None) -> bool:
    """Return whether bytes of the client wait in the kernel."""
    descriptor = _descriptor(transport)
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Return the number of bytes that the client's kernel has not confirmed.

    They are in asyncio's buffer, and up to 4 MB are in the kernel of this machine.
    """
    return transport.get_write_buffer_size() + _unacknowledged_bytes(transport)


def peer_of(transport: asyncio.BaseTransport | None) -> str:
    """Return the address of the client, "" after the connection was lost."""
    peer = None if transport is None else transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def is_tls(transport: asyncio.BaseTransport | None) -> bool:
    """Return whether the connection is encrypted."""
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def _unacknowledged_bytes(transport: asyncio.BaseTransport) -> int:
    descriptor = _descriptor(transport)
    if descriptor is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:  # macOS does not have this call
        return 0


def _descriptor(transport: asyncio.BaseTransport | None) -> int | None:
    socket = transport.get_extra_info("socket") if transport is not None else None
    return None if socket is None or socket.fileno() < 0 else int(socket.fileno())
