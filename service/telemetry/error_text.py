"""Which part of an exception may be in a log line or on a terminal: one rule, by type.

The message of an exception of Python or of a library may quote the bytes of a client: a session id, a user id, an API
key. So a line names the exception's type, and repeats only what cannot come from a client:

    JayError           its message, which is the service's own, but none of a RequestError, which may name a field
    ssl.SSLError       OpenSSL's reason, a constant
    OSError            the system's message for the error number, and the file
    ImportError        its message, which names modules
    everything else    nothing
"""

import errno
import os
import socket
import ssl
from pathlib import Path

from service.errors import JayError, RequestError


def describe(error: BaseException, *, is_of_client: bool = False) -> str:
    """Return the type of an error, and its text where that holds nothing of a client's.

    With `is_of_client` the error was raised while a request was handled. Of a file's name it then shows only the part
    that exists on this machine, because nobody can have made that up.
    """
    name, text = type(error).__qualname__, _text(error, is_of_client=is_of_client)
    return f"{name}: {text}" if text else name


def _text(error: BaseException, *, is_of_client: bool) -> str:
    if isinstance(error, JayError):
        return "" if isinstance(error, RequestError) else str(error)
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "")
    if isinstance(error, socket.gaierror | socket.herror):
        return str(error.strerror or "")
    if isinstance(error, OSError):
        return _system_text(error, is_of_client=is_of_client)
    return str(error) if isinstance(error, ImportError) else ""


def _system_text(error: OSError, *, is_of_client: bool) -> str:
    """Return the system's own message: libraries put addresses and more into `strerror`."""
    if not isinstance(error.errno, int):
        return ""
    text = f"{os.strerror(error.errno)} ({errno.errorcode.get(error.errno, error.errno)})"
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)]
    paths = [os.fsdecode(name) for name in names]
    shown = [_existing_part(path) if is_of_client else path for path in paths]
    return ": ".join([text, " -> ".join(shown)]) if shown else text


def _existing_part(path: str) -> str:
    """Return a path up to its last part that exists, and `…` for the rest."""
    try:
        whole = Path(path).absolute()
        existing = next((part for part in (whole, *whole.parents) if part.exists()), None)
    except (OSError, ValueError):  # a null byte, a name too long, a folder that may not be looked into
        return "…"
    return path if existing == whole else str((existing or Path()) / "…")
