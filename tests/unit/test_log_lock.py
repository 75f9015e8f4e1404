"""The lock of the log, between threads of real processes."""

import errno
import os
import subprocess
import sys

from service.telemetry.log_lock import LogLock
from service.telemetry.log_stream import LogStream

SECONDS = 20.0

# The parent holds the first lock and wants the second, the child the other way round.
# Both let go after the kernel has called that a deadlock. A thread that gets no lock
# prints its error.
CROSSWISE = """
import fcntl, os, select, threading
from service.telemetry.log_lock import LogLock

first, second = LogLock(), LogLock()
is_held = [os.pipe(), os.pipe()]
refused, let_go = os.pipe(), os.pipe()
lockf = fcntl.lockf

def reporting(file, kind):
    try:
        lockf(file, kind)
    except OSError:
        os.write(refused[1], b"x")
        raise

def await_byte(pipe):
    assert select.select([pipe[0]], [], [], 20)[0]
    os.read(pipe[0], 1)

def want(lock):
    with lock:
        print("acquired", flush=True)

fcntl.lockf = reporting
child = os.fork()
held, wanted = (first, second) if child else (second, first)
thread = threading.Thread(target=want, args=(wanted,))
with held:
    os.write(is_held[bool(child)][1], b"x")
    await_byte(is_held[not child])
    thread.start()
    if child:
        await_byte(refused)
        os.write(let_go[1], b"x")
    else:
        await_byte(let_go)
thread.join()
if child:
    os.waitpid(child, 0)
"""


def test_threads_of_two_processes_hold_two_locks_crosswise() -> None:
    """Both get the lock that they want, although the kernel sees a deadlock."""
    done = subprocess.run(
        [sys.executable, "-c", CROSSWISE], capture_output=True, text=True, timeout=3 * SECONDS, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "acquired\nacquired\n", "")


class BrokenLock(LogLock):
    """A lock that the kernel refuses once."""

    has_failed = False

    def __enter__(self) -> None:
        if not self.has_failed:
            self.has_failed = True
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        super().__enter__()


def test_lines_without_the_lock_are_counted_as_dropped() -> None:
    """A lock that the kernel refuses costs the lines of one write, no later ones."""
    draft, writing = os.pipe()
    stream = LogStream(writing, "utf-8", BrokenLock())
    stream.write("one\ntwo\n")
    stream.drain(SECONDS)
    stream.write("three\n")
    stream.drain(SECONDS)
    os.close(writing)
    with os.fdopen(draft) as file:
        assert file.read() == "three\n2 log lines were dropped because they could not be written in time\n"
    assert stream.drain_dropped() == 2
