"""Each write has whole lines, as many as the kernel takes all or nothing."""

import fcntl
import os
import select
import socket
from pathlib import Path

import pytest

from service.telemetry import line_writes
from service.telemetry.line_writes import write_lines

LINE = b"x" * 63 + b"\n"
# As many lines as fill the buffer, and the same with a last line of one byte more.
FULL = LINE * (select.PIPE_BUF // len(LINE))
ONE_MORE = FULL[:-1] + b"y\n"


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the pieces that are written."""
    seen: list[bytes] = []

    def write(_: int, piece: memoryview) -> int:
        seen.append(bytes(piece))
        return len(piece)

    monkeypatch.setattr(line_writes, "_write", write)
    return seen


def test_a_pipe_or_socket_that_may_be_full_gets_small_pieces(pieces: list[bytes]) -> None:
    """Only an empty pipe takes all lines at once. A long line has its own write."""
    draft, writing = os.pipe()
    ours, theirs = socket.socketpair()
    data = FULL + ONE_MORE + 2 * FULL
    write_lines(writing, data)
    assert pieces == [data]
    os.write(writing, b"unread\n")
    expected = [FULL, FULL[: -len(LINE)], LINE[:-1] + b"y\n" + FULL[: -2 * len(LINE)], FULL, 2 * LINE]
    for descriptor in (writing, ours.fileno()):
        pieces.clear()
        write_lines(descriptor, data)
        assert pieces == expected
        pieces.clear()
        write_lines(descriptor, LINE + b"z" * 2 * select.PIPE_BUF + b"\n" + LINE)
        assert [len(piece) for piece in pieces] == [len(LINE), 2 * select.PIPE_BUF + 1, len(LINE)]
    for one in (ours, theirs):
        one.close()
    for descriptor in (draft, writing):
        os.close(descriptor)


def test_a_pipe_gets_no_more_than_its_capacity(pieces: list[bytes]) -> None:
    """A larger write would wait in its middle, where a crash leaves half a line."""
    draft, writing = os.pipe()
    capacity = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    write_lines(writing, LINE * (capacity // len(LINE) + 1))
    assert [len(piece) for piece in pieces] == [capacity, len(LINE)]
    for descriptor in (draft, writing):
        os.close(descriptor)


def test_a_file_gets_large_pieces(pieces: list[bytes], tmp_path: Path) -> None:
    """Lines are written to a file 64 KiB at a time."""
    with (tmp_path / "log").open("wb") as file:
        write_lines(file.fileno(), LINE * 1025)
    assert [len(piece) for piece in pieces] == [65536, len(LINE)]


def test_a_full_pipe_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that another process has made non-blocking costs no CPU time."""
    draft, writing = os.pipe()
    os.set_blocking(writing, False)
    while select.select([], [writing], [], 0)[1]:
        os.write(writing, FULL)

    class Poll:
        def register(self, descriptor: int, events: int) -> None:
            assert (descriptor, events) == (writing, select.POLLOUT)

        def poll(self) -> None:
            os.read(draft, len(FULL))

    monkeypatch.setattr(select, "poll", Poll)
    assert line_writes._write(writing, memoryview(LINE)) == 0
    assert line_writes._write(writing, memoryview(LINE)) == len(LINE)
    for descriptor in (draft, writing):
        os.close(descriptor)
