"""Writes whole lines to a file descriptor, so that a crash leaves no half line."""

import fcntl
import os
import select
import stat
import sys
import termios

_LARGE_BYTES = 1 << 16


def write_lines(descriptor: int, data: bytes) -> int:
    """Write lines and wait as long as that takes.

    Returns how many lines failed, because there is no reader or the disk is full.
    """
    view = memoryview(data)
    begin = 0
    try:
        while begin < len(data):
            end = _line_end(data, begin, _writable_at_once(descriptor))
            _write_all(descriptor, view[begin:end])
            begin = end
    except OSError:
        return data.count(b"\n", begin)
    return 0


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
    # the pipe is empty, so this fits
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)


def _line_end(data: bytes, begin: int, most: int) -> int:
    """Return the end of the whole lines that fit into `most` bytes, at least one."""
    if len(data) - begin <= most:
        return len(data)
    return data.rfind(b"\n", begin, begin + most) + 1 or data.index(b"\n", begin) + 1


def _write_all(descriptor: int, piece: memoryview) -> None:
    while piece:
        try:
            piece = piece[os.write(descriptor, piece) :]
        except BlockingIOError:
            # a process that shares the open file has made it non-blocking
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
