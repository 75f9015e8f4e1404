"""The listening socket."""

import errno
import socket

from service.config.settings import ServerSettings
from service.errors import ServerError


def bind(server: ServerSettings) -> socket.socket:
    """Return a socket bound to host and port.

    It does not listen yet. Raises ServerError.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
