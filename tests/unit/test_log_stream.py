import errno
import fcntl
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.telemetry.log_lock import LogLock
from service.telemetry.log_stream import CAPACITY_BYTES, LogStream
from tests.support.processes import eventually

LINE = "x" * 180
SECONDS = 20.0


class Reader:
    """Reads a file descriptor to its end in a thread, once it is started."""

    def __init__(self, descriptor: int) -> None:
        self.data = b""
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _read(self) -> None:
        try:
            while more := os.read(self._descriptor, 65536):
                self.data += more
        except OSError:  # the end of a terminal
            pass

    def lines(self) -> list[str]:
        return self.data.decode().replace("\r\n", "\n").splitlines()


def a_pipe() -> tuple[int, int]:
    return os.pipe()


def a_socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def a_terminal() -> tuple[int, int]:
    return pty.openpty()


def a_nonblocking_pipe() -> tuple[int, int]:
    """Return a non-blocking pipe, as a parent written in Node.js shares it."""
    draft, writing = os.pipe()
    os.set_blocking(writing, False)
    return draft, writing


KINDS: list[Callable[[], tuple[int, int]]] = [a_pipe, a_socket, a_terminal, a_nonblocking_pipe]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Yield a reading and a writing end, of each kind of standard error."""
    draft, writing = request.param()
    yield draft, writing
    for descriptor in (writing, draft):
        try:
            os.close(descriptor)
        except OSError as error:
            assert error.errno == errno.EBADF


def dropped_in(lines: list[str]) -> int:
    return sum(int(found[1]) for line in lines if (found := re.match(r"(\d+) log lines were dropped", line)))


def test_a_stalled_reader_drops_lines_and_each_is_counted(ends: tuple[int, int]) -> None:
    """A stalled reader drops lines without blocking, and each one is counted."""
    draft, writing = ends
    stream = LogStream(writing, "utf-8", LogLock())
    started = time.monotonic()
    written = 0
    while written < 20_000:
        stream.write("".join(f"{written + number} {LINE}\n" for number in range(100)))
        written += 100
    assert time.monotonic() - started < SECONDS
    dropped = stream.drain_dropped()
    assert 0 < dropped < written
    reader = Reader(draft)
    reader.start()
    eventually(lambda: dropped_in(reader.lines()) >= dropped, "the line about dropped lines", SECONDS)
    stream.drain(SECONDS)
    for number in range(written, written + 100):
        stream.write(f"{number} {LINE}\n")
    stream.drain(SECONDS)
    eventually(lambda: f"{written + 99} {LINE}" in reader.lines(), "the last line", SECONDS)
    lines = reader.lines()
    numbers = [int(line.split()[0]) for line in lines if line.endswith(LINE)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + dropped_in(lines) == written + 100
    assert dropped_in(lines) == dropped + stream.drain_dropped()
    assert all(line.endswith(LINE) or "were dropped" in line for line in lines)


def test_the_queue_is_bounded() -> None:
    """A reader that never comes back costs the process 1 MiB."""
    draft, writing = os.pipe()
    stream = LogStream(writing, "utf-8", LogLock())
    for _ in range(100):
        stream.write(f"{'y' * 100_000}\n")
    assert stream.drain_dropped() >= 100 - CAPACITY_BYTES / 100_000 - 1
    os.close(draft)
    stream.drain(SECONDS)
    os.close(writing)


def test_a_full_queue_takes_no_line_until_half_of_it_is_free() -> None:
    """A short line is dropped too, so that the log has few long gaps."""
    draft, writing = os.pipe()
    stream = LogStream(writing, "utf-8", LogLock())
    for _ in range(4):
        stream.write(f"{'y' * 300_000}\n")
    stream.write("short\n")
    assert stream.drain_dropped() == 2
    reader = Reader(draft)
    reader.start()
    stream.drain(SECONDS)
    stream.write("last\n")
    stream.drain(SECONDS)
    eventually(lambda: "last" in reader.lines(), "the last line", SECONDS)
    assert "short" not in reader.lines()
    assert stream.drain_dropped() == 0
    os.close(writing)


def test_waiting_for_the_rest_has_a_deadline() -> None:
    """At exit, flushing to a stalled reader ends at the given deadline."""
    draft, writing = os.pipe()
    stream = LogStream(writing, "utf-8", LogLock())
    stream.write(f"{'y' * 200_000}\n")
    started = time.monotonic()
    stream.drain(0.2)
    assert 0.2 <= time.monotonic() - started < 5
    os.close(draft)
    stream.drain(SECONDS)
    os.close(writing)


def test_lines_lost_to_a_full_disk_or_a_closed_pipe_are_counted(tmp_path: Path) -> None:
    """Failed writes count as dropped lines, and the next line has their number."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    full = os.open("/dev/full", os.O_WRONLY)
    draft, gone = os.pipe()
    os.close(draft)
    target = os.dup(full)
    stream = LogStream(target, "utf-8", LogLock())
    stream.write("one\ntwo\n")
    stream.drain(SECONDS)
    os.dup2(gone, target)
    stream.write("three\n")
    stream.drain(SECONDS)
    os.dup2(log, target)
    stream.write("four\n")
    stream.drain(SECONDS)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "four"
    assert dropped_in(lines) == stream.drain_dropped() == 3
    for descriptor in (log, full, gone, target):
        os.close(descriptor)


def test_the_number_of_dropped_lines_is_reported_later_if_it_does_not_fit(tmp_path: Path) -> None:
    """A report that cannot be written follows the next line that can."""
    log = tmp_path / "log"
    target = os.open("/dev/full", os.O_WRONLY)
    stream = LogStream(target, "utf-8", LogLock())
    stream.write("lost\n")
    stream.drain(SECONDS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), target)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len("one\n"), limits[1]))
    try:
        stream.write("one\n")
        stream.drain(SECONDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    stream.write("two\n")
    stream.drain(SECONDS)
    assert log.read_text().splitlines() == [
        "one",
        "two",
        "1 log lines were dropped because they could not be written in time",
    ]
    os.close(target)


def test_a_full_disk_spoils_one_line(tmp_path: Path) -> None:
    """Half a line that fitted on the disk is ended before the next line.

    The next line is that of another process.
    """
    log, lock = tmp_path / "log", LogLock()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    first, second = (LogStream(target, "utf-8", lock) for _ in range(2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel writes up to the limit, as on a full disk, and then fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        first.write("one\ntwo\nthree\nfour\n")
        first.drain(SECONDS)
        second.write("five\n")
        second.drain(SECONDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert first.drain_dropped() == 2
    assert second.drain_dropped() == 1
    second.write("six\n")
    second.drain(SECONDS)
    first.write("seven\n")
    first.drain(SECONDS)
    lines = log.read_text().splitlines()
    assert [line for line in lines if "dropped" not in line] == ["one", "two", "th", "six", "seven"]
    os.close(target)


def test_lines_of_several_processes_do_not_mix() -> None:
    """Long lines of several processes stay whole with a slow reader."""
    program = """
import os, sys
from service.telemetry.log_stream import LogStream
from service.telemetry.log_lock import LogLock
stream = LogStream(2, "utf-8", LogLock())
stream.write("parent starts\\n")
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        for number in range(40):
            stream.write(f"{child} " * 5000 + "end\\n" + f"{child} short\\n")
        stream.drain(30)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
stream.write("parent ends\\n")
stream.drain(30)
"""
    # Python cannot know that the thread holds no lock at a fork.
    quiet = ("-W", "ignore::DeprecationWarning")
    with subprocess.Popen([sys.executable, *quiet, "-c", program], stderr=subprocess.PIPE) as popen:
        assert popen.stderr
        data = b""
        while more := os.read(popen.stderr.fileno(), 1000):
            data += more
    assert popen.returncode == 0
    lines = data.decode().splitlines()
    assert lines[0] == "parent starts"
    assert lines[-1] == "parent ends"
    shapes = {line if len(line) < 20 else re.sub(r"^(\d) (?:\1 )+end$", r"\1 long", line) for line in lines[1:-1]}
    assert shapes == {f"{child} {length}" for child in range(3) for length in ("short", "long")}
    assert len(lines) == 2 + 3 * 80


# Python cannot know that this thread holds no lock.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_does_not_repeat_pending_lines() -> None:
    """A child process writes neither the pending lines nor the drop count."""
    draft, writing = os.pipe()
    stream = LogStream(writing, "utf-8", LogLock())
    stream.write(f"{'x' * 2 * CAPACITY_BYTES}\n")  # dropped
    stream.write(f"{'parent ' * 20_000}\n")  # pending
    stream.write("a begun line of the parent")
    report, result = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(draft)  # only the parent reads from it
        os.write(result, b"%d" % stream.drain_dropped())
        stream.write("child\n")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(report, 100) == b"0"
    assert stream.drain_dropped() == 1
    reader = Reader(draft)
    reader.start()
    stream.drain(SECONDS)
    eventually(lambda: "a begun line" in reader.data.decode(), "the end", SECONDS)
    assert reader.data.count(b"parent ") == 20_000
    assert b"child" not in reader.data
    os.close(writing)
    os.close(report)
    os.close(result)


def test_a_line_may_be_written_in_parts() -> None:
    """A line may arrive in several writes, and an unfinished one is written at exit."""
    draft, writing = os.pipe()
    stream = LogStream(writing, "ascii", LogLock())
    print("one", "é", file=stream, flush=True)
    stream.write("two ")
    stream.write("three\nfour")
    stream.drain(SECONDS)
    os.close(writing)
    with os.fdopen(draft) as file:
        assert file.read() == "one \\xe9\ntwo three\nfour\n"


@pytest.mark.parametrize("errors", ["strict", "ignore"])
def test_a_character_that_the_encoding_lacks_is_escaped(errors: str) -> None:
    """Standard output takes every character, whatever PYTHONIOENCODING says."""
    program = "from service.telemetry import log_stream; log_stream.install(); print('caf\xe9', flush=True)"
    environment = {**os.environ, "PYTHONIOENCODING": f"ascii:{errors}"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9\n", "")


@pytest.mark.parametrize("shares_a_pipe", [True, False])
def test_standard_output_and_error_keep_their_order(shares_a_pipe: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """Lines from before keep their place, and one pipe has one stream."""
    program = (
        "import sys; from service.telemetry import log_stream; print('before'); log_stream.install(); "
        "print(sys.stdout is sys.stderr)"
    )
    stderr = subprocess.STDOUT if shares_a_pipe else subprocess.PIPE
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=SECONDS,
        check=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert done.stdout == f"before\n{shares_a_pipe}\n"


def test_signals_are_not_delivered_to_the_writing_thread() -> None:
    """The writer thread blocks all signals, so the main thread gets them."""
    draft, writing = os.pipe()
    before = threading.enumerate()
    stream = LogStream(writing, "utf-8", LogLock())
    stream.write("hello\n")
    stream.drain(SECONDS)
    (thread,) = [thread for thread in threading.enumerate() if thread not in before]
    blocked = re.search(r"SigBlk:\s+(\w+)", Path(f"/proc/self/task/{thread.native_id}/status").read_text())
    assert blocked
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        assert int(blocked[1], 16) >> (number - 1) & 1
        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    os.close(draft)
    os.close(writing)


def test_the_file_description_is_not_changed() -> None:
    """The stream does not make a shared descriptor non-blocking."""
    draft, writing = os.pipe()
    flags = fcntl.fcntl(writing, fcntl.F_GETFL)
    stream = LogStream(writing, "utf-8", LogLock())
    stream.write("hello\n")
    stream.drain(SECONDS)
    assert fcntl.fcntl(writing, fcntl.F_GETFL) == flags
    os.close(draft)
    os.close(writing)
