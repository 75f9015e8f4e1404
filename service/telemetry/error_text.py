"""Decides which part of an exception may appear in a log line or on a terminal.

The message of an exception may quote a client: a session id, a user id or an API key.
So a line has the exception's type, and only that part of the message that cannot come
from a client:

    RequestError       nothing, as its message may name a field that the client sent
    other JayErrors    the message
    ssl.SSLError       OpenSSL's reason, a constant
    OSError            the system's message for the error number, and the file
    ImportError        the message, which names modules
    all others         nothing
"""

import errno
import os
import socket
import ssl
from pathlib import Path

from service.errors import JayError, RequestError


def describe(error: BaseException, *, may_quote_client: bool = False) -> str:
    """Return an error's type and the part of its message that is not from a client.

    `may_quote_client` is for errors raised while a request was handled. For these, only
    the part of a file name that exists on this machine is returned, because a client
    may have sent the rest.
    """
    name, message = type(error).__qualname__, _safe_message(error, may_quote_client=may_quote_client)
    return f"{name}: {message}" if message else name


def _safe_message(error: BaseException, *, may_quote_client: bool) -> str:
    if isinstance(error, JayError):
        return "" if isinstance(error, RequestError) else str(error)
    if isinstance(error, ssl.SSLError):
        # Only errors that OpenSSL raises have the attribute.
        return str(getattr(error, "reason", None) or "")
    if isinstance(error, socket.gaierror | socket.herror):
        return str(error.strerror or "")
    if isinstance(error, OSError):
        return _system_message(error, may_quote_client=may_quote_client)
    return str(error) if isinstance(error, ImportError) else ""


def _system_message(error: OSError, *, may_quote_client: bool) -> str:
    """Return the system's own message.

    Libraries put addresses and more into `strerror`.
    """
    if not isinstance(error.errno, int):
        return ""
    message = f"{os.strerror(error.errno)} ({errno.errorcode.get(error.errno, error.errno)})"
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)]
    paths = [os.fsdecode(name) for name in names]
    shown = [_existing_part(path) if may_quote_client else path for path in paths]
    return ": ".join([message, " -> ".join(shown)]) if shown else message


def _existing_part(path: str) -> str:
    """Return the part of a path that exists, and `…` for the rest."""
    try:
        whole = Path(path).absolute()
        existing = next((part for part in (whole, *whole.parents) if part.exists()), None)
    except OSError:
        # It is too long, or is in a folder without permission.
        return "…"
    return path if existing == whole else str((existing or Path()) / "…")
