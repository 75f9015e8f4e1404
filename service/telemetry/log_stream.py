"""A text stream for log lines whose writers never wait.

DESIGN. A write to standard error blocks while its reader stalls: a full pipe, a terminal after Ctrl-S, a journald
that is busy. O_NONBLOCK is no way out, because every process that shares the open file gets it too. So a thread of
this process writes, and everybody else puts bytes into a bounded queue. While the queue is full, lines are dropped
and counted. As soon as a write succeeds again, one line gives their number.

Order: the lines of one process are written in their order. Processes that share a stream take turns (`Turn`), so
that no line begins inside another. Nothing here decides what a line contains.
"""

import atexit
import fcntl
import io
import os
import select
import signal
import stat
import sys
import termios
import threading
import time
import warnings
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO, TypeAlias, cast

from service.telemetry.log_lock import Turn

# Five thousand lines of requests, a quarter of a second at full load.
CAPACITY_BYTES = 1 << 20
_LARGE_BYTES = 1 << 16
# A reader that keeps up needs milliseconds. It is a part of the time that a worker has to exit.
_EXIT_SECONDS = 0.5

DescribeDropped: TypeAlias = Callable[[int], str]
_Item: TypeAlias = bytes | threading.Event


def notice(dropped: int) -> str:
    """Return the line that gives the number of dropped lines, as plain text."""
    return f"{dropped} log lines were dropped because the reader of the log did not keep up\n"


class LogStream(io.TextIOBase):
    """Writes whole lines to a file descriptor from a thread of its own.

    Workers may inherit it by a fork. Each process then has its own queue and its own thread. A line is text
    up to a line feed. `describe_dropped` makes the line about dropped ones and may be replaced.
    """

    def __init__(
        self,
        descriptor: int,
        encoding: str,
        turn: Turn,
        *,
        errors: str = "backslashreplace",
        is_terminal: bool = False,
    ) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._errors = errors
        self._turn = turn
        self._is_terminal = is_terminal
        self.describe_dropped: DescribeDropped = notice
        self._begin()

    def _begin(self) -> None:
        """Start with nothing, in a new process: what its parent has not written yet is the parent's to write."""
        self._pid = os.getpid()
        # Reentrant, because a signal handler or a destructor that runs inside `write` may log.
        self._guard = threading.RLock()
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._begun_line = ""
        self._waiting_bytes = 0
        self._is_full = False
        self._unreported = 0
        self._dropped = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in typeshed
        """The encoding of text. Characters that it lacks are written as escapes."""
        return self._encoding

    def fileno(self) -> int:
        """Return the file descriptor that is written to."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._is_terminal

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Queue the whole lines of `text` and keep the rest until its line ends. Never waits and never raises."""
        if self._pid != os.getpid():
            self._begin()
        with self._guard:
            lines, newline, rest = text.rpartition("\n")
            if newline:
                data = f"{self._begun_line}{lines}\n".encode(self._encoding, self._errors)
                self._begun_line = rest
                self._submit(data)
            else:
                self._begun_line += rest
        return len(text)

    def take_dropped(self) -> int:
        """Return how many lines were dropped since the last call."""
        if self._pid != os.getpid():
            self._begin()
        with self._guard:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def drain(self, seconds: float) -> None:
        """Return when everything is written, but after `seconds` at the latest."""
        if self._pid != os.getpid() or self._thread is None:
            return
        deadline = time.monotonic() + seconds
        self._wait_until_written(deadline)
        if self._begun_line:  # only now: a full queue would drop it
            self.write("\n")
            self._wait_until_written(deadline)

    def _wait_until_written(self, deadline: float) -> None:
        done = threading.Event()
        self._queue.put(done)
        done.wait(deadline - time.monotonic())

    def _submit(self, data: bytes) -> None:
        # Once full, until there is room for some thousand lines: few long gaps, not many short ones.
        limit = CAPACITY_BYTES // 2 if self._is_full else CAPACITY_BYTES
        self._is_full = self._waiting_bytes + len(data) > limit
        if self._is_full:
            self._lose(data.count(b"\n"))
            return
        self._waiting_bytes += len(data)
        self._queue.put(data)
        if self._thread is None:
            self._thread = _started(threading.Thread(target=self._run, args=(self._queue,), name="log", daemon=True))

    def _lose(self, lines: int) -> None:
        self._unreported += lines
        self._dropped += lines

    def _run(self, queue: "SimpleQueue[_Item]") -> None:
        while True:
            item = queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            lost = self._put_out(item)
            with self._guard:
                self._waiting_bytes -= len(item)
                self._lose(lost)
                unreported = 0 if lost else self._unreported
                self._unreported -= unreported
            if unreported and self._put_out(self.describe_dropped(unreported).encode(self._encoding, self._errors)):
                with self._guard:
                    self._unreported += unreported

    def _put_out(self, data: bytes) -> int:
        """Write lines, however long that takes. Return how many could not be written: no reader, or a full disk."""
        view = memoryview(data)
        begin = 0
        with self._turn:
            try:
                while begin < len(data):
                    end = _line_end(data, begin, _writable_at_once(self._descriptor))
                    _write_all(self._descriptor, view[begin:end])
                    begin = end
            except OSError:
                return data.count(b"\n", begin)
        return 0


def install() -> None:
    """Replace standard output and standard error of a service, which must not wait for whoever reads them.

    Everything that the interpreter, libraries and this code print goes there: warnings, tracebacks, the greeting.
    What is still waiting at exit is written then, within `_EXIT_SECONDS`.
    """
    # Python cannot know that the thread below holds no lock that a fork would copy.
    warnings.filterwarnings("ignore", r".*multi-threaded, use of (fork|forkpty)\(\)", DeprecationWarning)
    turn = Turn()
    errors = _over(sys.stderr, turn)
    # One stream where both are one terminal, file or pipe, so that the lines keep their order.
    output = errors if os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno()) else _over(sys.stdout, turn)
    sys.stdout, sys.stderr = cast("TextIO", output), cast("TextIO", errors)
    for stream in {output, errors}:
        atexit.register(stream.drain, _EXIT_SECONDS)


def _over(stream: TextIO, turn: Turn) -> LogStream:
    stream.flush()
    errors = stream.errors or "backslashreplace"
    return LogStream(stream.fileno(), stream.encoding, turn, errors=errors, is_terminal=stream.isatty())


def _started(thread: threading.Thread) -> threading.Thread:
    """Start a thread that no signal interrupts: signals are for the main thread, which may be waiting for one."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return thread


def _writable_at_once(descriptor: int) -> int:
    """Return how many bytes to write in one call, so that a process that dies while it waits leaves no half line."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return select.PIPE_BUF  # one buffer of the kernel, which it takes whole or not at all
    if not stat.S_ISFIFO(mode):
        return _LARGE_BYTES
    waiting = int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
    if waiting or sys.platform != "linux":
        return select.PIPE_BUF  # all or nothing
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)  # it is empty, so that this fits


def _line_end(data: bytes, begin: int, most: int) -> int:
    """Return where to stop, so that whole lines of at most `most` bytes are written, or one line that is longer."""
    if len(data) - begin <= most:
        return len(data)
    return data.rfind(b"\n", begin, begin + most) + 1 or data.index(b"\n", begin) + 1


def _write_all(descriptor: int, piece: memoryview) -> None:
    while piece:
        try:
            piece = piece[os.write(descriptor, piece) :]
        except BlockingIOError:  # another process has made the open file, which it shares with us, non-blocking
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
