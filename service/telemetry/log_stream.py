"""A text stream for log lines whose writers never wait.

DESIGN. A write to standard error blocks while its reader stalls: a full pipe, a
terminal after Ctrl-S, a busy journald. O_NONBLOCK does not help, because it would apply
to every process that shares the open file. So one thread of each process writes, and
the other threads put bytes into a bounded queue. While the queue is full, lines are
dropped and counted. After the next write that succeeds, one line reports their number.

Order: the lines of one process keep their order. Processes that share a stream take a
lock (`LogLock`), so that no line begins inside another. The content of lines is not
decided here.
"""

import atexit
import io
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO, TypeAlias, cast

from service.telemetry.line_writes import write_lines
from service.telemetry.log_lock import LogLock

# 5,000 lines of requests, 0.25 s at full load.
CAPACITY_BYTES = 1 << 20
# A reader that keeps up needs milliseconds. A worker has 1.5 s for its whole exit.
_EXIT_SECONDS = 0.5

DescribeDropped: TypeAlias = Callable[[int], str]
_Item: TypeAlias = bytes | threading.Event


def dropped_notice(dropped: int) -> str:
    """Return the line that reports the number of dropped lines, as plain text."""
    return f"{dropped} log lines were dropped because they could not be written in time\n"


class LogStream(io.TextIOBase):
    """Writes whole lines to a file descriptor from a background thread.

    Workers may inherit the stream by a fork. Each process then has a queue and a
    thread. A line is a string up to a line feed. `describe_dropped` makes the line that
    reports dropped lines, and may be replaced.
    """

    def __init__(
        self,
        descriptor: int,
        encoding: str,
        lock: LogLock,
        *,
        is_terminal: bool = False,
    ) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._lock = lock
        self._is_terminal = is_terminal
        self.describe_dropped: DescribeDropped = dropped_notice
        self._begin()

    def _begin(self) -> None:
        """Start empty in a new process.

        The parent writes the lines that are in its queue.
        """
        self._pid = os.getpid()
        # Reentrant: a signal handler or a destructor inside `write` may log.
        self._guard = threading.RLock()
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._partial_line = ""
        self._waiting_bytes = 0
        self._is_full = False
        self._unreported = 0
        self._dropped = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in typeshed
        """The encoding of the lines.

        Characters that it lacks are written as escapes.
        """
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
        """Queue the whole lines of `text`.

        The rest is kept until its line ends. Never waits, never raises.
        """
        if self._pid != os.getpid():
            self._begin()
        with self._guard:
            lines, newline, rest = text.rpartition("\n")
            if newline:
                data = self._encode(f"{self._partial_line}{lines}\n")
                self._partial_line = rest
                self._submit(data)
            else:
                self._partial_line += rest
        return len(text)

    def _encode(self, text: str) -> bytes:
        return text.encode(self._encoding, "backslashreplace")

    def drain_dropped(self) -> int:
        """Return how many lines were dropped since the last call."""
        if self._pid != os.getpid():
            self._begin()
        with self._guard:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def drain(self, seconds: float) -> None:
        """Wait until every line is written, at most `seconds`."""
        if self._pid != os.getpid() or self._thread is None:
            return
        deadline = time.monotonic() + seconds
        self._wait_until_written(deadline)
        if self._partial_line:  # last, when the queue has room for it
            self.write("\n")
            self._wait_until_written(deadline)

    def _wait_until_written(self, deadline: float) -> None:
        done = threading.Event()
        self._queue.put(done)
        done.wait(deadline - time.monotonic())

    def _submit(self, data: bytes) -> None:
        # A full queue takes no line until half of it is free. So the log has few long
        # gaps instead of many short ones.
        limit = CAPACITY_BYTES // 2 if self._is_full else CAPACITY_BYTES
        self._is_full = self._waiting_bytes + len(data) > limit
        if self._is_full:
            self._count_dropped(data.count(b"\n"))
            return
        self._waiting_bytes += len(data)
        self._queue.put(data)
        if self._thread is None:
            self._thread = _started(threading.Thread(target=self._run, args=(self._queue,), name="log", daemon=True))

    def _count_dropped(self, lines: int) -> None:
        self._unreported += lines
        self._dropped += lines

    def _run(self, queue: "SimpleQueue[_Item]") -> None:
        while True:
            item = queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            lost = self._write_lines(item)
            with self._guard:
                self._waiting_bytes -= len(item)
                self._count_dropped(lost)
                unreported = 0 if lost else self._unreported
                self._unreported -= unreported
            if unreported and self._write_lines(self._encode(self.describe_dropped(unreported))):
                with self._guard:
                    self._unreported += unreported

    def _write_lines(self, data: bytes) -> int:
        """Write lines and wait as long as that takes.

        Returns how many lines failed, because there is no reader, the disk is full, or
        the kernel does not give the lock.
        """
        try:
            with self._lock:
                was_half = self._lock.ends_in_half_line
                # The next line must not continue half a line.
                if was_half and write_lines(self._descriptor, b"\n").lost:
                    return data.count(b"\n")
                lost, is_half = write_lines(self._descriptor, data)
                if is_half != was_half:
                    self._lock.ends_in_half_line = is_half
                return lost
        except OSError:  # of the lock: the thread must not end
            return data.count(b"\n")


def install() -> None:
    """Replace standard output and error, so that the service never waits for a reader.

    Everything that the interpreter, libraries and this code print goes there: warnings,
    tracebacks, the banner. Lines that are in the queue at exit are written within
    `_EXIT_SECONDS`.
    """
    # Python warns about a fork in a process that has threads. The log's thread holds no
    # lock that a fork would copy.
    warnings.filterwarnings("ignore", r".*multi-threaded, use of (fork|forkpty)\(\)", DeprecationWarning)
    for before in (sys.stdout, sys.stderr):
        before.flush()
    lock = LogLock()
    errors = _over(sys.stderr, lock)
    # One stream where both are one terminal, file or pipe, so that the lines keep their
    # order.
    output = errors if os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno()) else _over(sys.stdout, lock)
    sys.stdout, sys.stderr = cast("TextIO", output), cast("TextIO", errors)
    for stream in {output, errors}:
        atexit.register(stream.drain, _EXIT_SECONDS)


def _over(stream: TextIO, lock: LogLock) -> LogStream:
    return LogStream(stream.fileno(), stream.encoding, lock, is_terminal=stream.isatty())


def _started(thread: threading.Thread) -> threading.Thread:
    """Start a thread with all signals blocked.

    The signals are for the main thread, which may wait for one.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return thread
