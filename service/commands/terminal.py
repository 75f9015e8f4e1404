"""The standard streams of the command line, usable when closed or on a full disk."""

import codecs
import os
import struct
import sys
from typing import TextIO

MIN_WIDTH = 40  # below this width the terminal wraps the lines

_ESCAPE = "jay-escape"


def prepare() -> None:
    r"""Make the three standard streams usable in every state.

    A character that the terminal's encoding lacks is written as `\u2026`, which is
    valid in JSON. A closed stream is replaced by /dev/null. Otherwise the next file to
    be opened would take its descriptor.
    """
    codecs.register_error(_ESCAPE, _escape)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # It takes the lowest free descriptor, which is this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = _usable(sys.stdin, 0, "r", "backslashreplace")
    sys.stdout = _usable(sys.stdout, 1, "w", _ESCAPE)
    sys.stderr = _usable(sys.stderr, 2, "w", _ESCAPE)


def print_error(line: str) -> None:
    """Print a line to standard error.

    If that fails, only the exit status reports the error.
    """
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Redirect a broken stream to /dev/null.

    The interpreter would report another error at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usable(stream: TextIO | None, descriptor: int, mode: str, errors: str) -> TextIO:
    if stream is None:  # it was closed when Python started
        return open(descriptor, mode, encoding="utf-8", errors=errors, closefd=False)  # type: ignore[return-value]  # a text file
    if reconfigure := getattr(stream, "reconfigure", None):
        reconfigure(errors=errors)
    return stream


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", units)), error.end
