"""Writes whole lines to a file descriptor, so that a crash leaves no half line."""

import fcntl
import os
import select
import stat
import sys
import termios
from typing import NamedTuple

_LARGE_BYTES = 1 << 16


class Written(NamedTuple):
    """The result of a write. `lost` is the number of lines that failed.

    `ends_in_half_line` is true when a full disk has taken only the beginning of a line.
    """

    lost: int
    ends_in_half_line: bool


def write_lines(descriptor: int, data: bytes) -> Written:
    """Write lines and wait as long as that takes.

    Lines fail because there is no reader or the disk is full.
    """
    view = memoryview(data)
    done = 0
    try:
        while done < len(data):
            end = _line_end(data, done, _writable_at_once(descriptor))
            done += _write(descriptor, view[done:end])
    except OSError:
        return Written(data.count(b"\n", done), data[:done][-1:] not in {b"", b"\n"})
    return Written(0, ends_in_half_line=False)


def _writable_at_once(descriptor: int) -> int:
    """Return how many bytes one call may write, so that a crash leaves no half line."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return select.PIPE_BUF  # the kernel takes one buffer whole or not at all
    if not stat.S_ISFIFO(mode):
        return _LARGE_BYTES
    waiting = int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
    if waiting or sys.platform != "linux":
        return select.PIPE_BUF  # all or nothing
    # The pipe is empty, so this fits.
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)


def _line_end(data: bytes, begin: int, most: int) -> int:
    """Return the end of the whole lines that fit into `most` bytes, at least one."""
    if len(data) - begin <= most:
        return len(data)
    return data.rfind(b"\n", begin, begin + most) + 1 or data.index(b"\n", begin) + 1


def _write(descriptor: int, piece: memoryview) -> int:
    """Write a part of a piece, and return its number of bytes."""
    try:
        return os.write(descriptor, piece)
    except BlockingIOError:
        # A process that shares the open file has made it non-blocking.
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll()
        return 0
