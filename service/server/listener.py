"""The listening socket."""

import errno
import socket

from service.config.settings import ServerSettings
from service.errors import ServerError

# The kernel keeps at most this much of an answer that it has not sent, 64 KiB. By
# default it takes up to 4 MB. 1,000 slow readers of a file of 1.7 MB then took 2 GB,
# and the kernel refused memory to all connections of the machine.
_UNSENT_BYTES = 65_536


def bind(server: ServerSettings) -> socket.socket:
    """Return a socket bound to host and port.

    It does not listen yet. Raises ServerError.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    try:
        listener.bind((server.host, server.port))
    except OSError as error:
        listener.close()
        advice = (
            "stop the program that uses the port, or set JAY_SERVER__PORT to another port"
            if error.errno == errno.EADDRINUSE
            else "set JAY_SERVER__HOST to an address of this machine, and JAY_SERVER__PORT to a permitted port"
        )
        raise ServerError(f"cannot listen on {server.host}:{server.port} ({error.strerror}): {advice}") from None
    return listener
