"""Closes a listening socket so that no client loses a request.

Closing it resets the connections that wait in the kernel, and a proxy does not repeat a
POST whose connection is reset. So a worker that stops lets the kernel drop new
connections, accepts those that wait, and then closes the socket.
"""

import ctypes
import socket
import struct
from contextlib import suppress

# Linux, asm-generic/socket.h
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
# A program of the classic Berkeley packet filter, whose packets begin with the header
# of TCP: operation, steps to skip if true and if false, operand.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone?
    (0x06, 0, 0, 0),  # then drop the packet
    (0x06, 0, 0, 0xFFFF_FFFF),  # keep all other packets whole
)


def drop_new_connections(listener: socket.socket) -> None:
    """Let the kernel drop the first packet (SYN) of each new connection.

    The client's kernel sends it again after a second. By then the listener is closed,
    the connection is refused, and a proxy uses another instance, also for a POST. The
    program of the filter stays with the listener, so `stop_dropping` has to undo this
    if the listener is used again.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _DROP_SYN))
    # struct sock_fprog: the number of steps, and their address
    with suppress(OSError):  # another system, where an interval of microseconds remains
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
        )


def stop_dropping(listener: socket.socket) -> None:
    """Undo `drop_new_connections` of a process that listened before."""
    with suppress(OSError):  # there is no filter
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """Accept the connections that wait in the kernel."""
    listener.setblocking(False)
    connections = []
    with suppress(OSError):  # nothing waits, or no file is free
        while True:
            connections.append(listener.accept()[0])
    return connections
