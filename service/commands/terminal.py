"""Standard streams of the command line: they take any character, and may be closed or on a full disk."""

import codecs
import os
import struct
import sys
from typing import TextIO

_ESCAPE = "jay-escape"


def prepare() -> None:
    r"""Make the three streams usable whatever they are.

    A character that the terminal's encoding lacks is written as `\u2026`, which JSON reads as that character. A
    stream that is closed is replaced by /dev/null, or the next file that is opened would take its place.
    """
    codecs.register_error(_ESCAPE, _escape)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    sys.stdin = _usable(sys.stdin, 0, "r", "backslashreplace")
    sys.stdout = _usable(sys.stdout, 1, "w", _ESCAPE)
    sys.stderr = _usable(sys.stderr, 2, "w", _ESCAPE)


def complain(line: str) -> None:
    """Print a line to standard error. Where that cannot be written to, the exit status has to do."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Send a stream that cannot be written to nowhere, or the interpreter would try again at exit and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usable(stream: TextIO | None, descriptor: int, mode: str, errors: str) -> TextIO:
    if stream is None:  # how Python says that it was closed
        return open(descriptor, mode, encoding="utf-8", errors=errors, closefd=False)  # type: ignore[return-value]  # text
    if reconfigure := getattr(stream, "reconfigure", None):
        reconfigure(errors=errors)
    return stream


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", units)), error.end
