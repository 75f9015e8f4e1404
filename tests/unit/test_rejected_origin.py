"""The `Origin` header in bytes that the parser rejected, which may be any bytes."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from service.api.cors import origin_in

ORIGIN = b"https://app.example.com"
BYTES = 1_000_000
CPU_SECONDS = 30.0


@pytest.fixture
def cpu_limit() -> Iterator[None]:
    """Stop the test after its seconds of CPU time, however busy the machine is."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError("the time grows with the square of the input")

    earlier = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, earlier)


@pytest.mark.parametrize(
    ("head", "origin"),
    [
        (b"\r\nOrigin: %b\r\n", ORIGIN),
        (b"\r\norigin:%b\r\n", ORIGIN),
        (b"\r\nORIGIN: \t %b\t \r\n", ORIGIN),
        (b"\r\nOrigin: %b\r\nOrigin: null\r\n", ORIGIN + b", null"),
        (b"\r\nOrigin: %b", None),
        (b"\r\nOrigin : %b\r\n", None),
        (b"\r\nX-Origin: %b\r\n", None),
        (b"\r\nX: Origin: %b\r\n", None),
    ],
)
def test_whole_lines_are_found(head: bytes, origin: bytes | None) -> None:
    """The lines are joined as in a request that the parser accepts."""
    found = origin_in(b"GET / HTTP/1.1" + head.replace(b"%b", ORIGIN))
    assert found == (None if origin is None else origin.decode())


@pytest.mark.usefixtures("cpu_limit")
@pytest.mark.parametrize(
    "line", [b"a" + b" " * BYTES + b"b", b" " * BYTES, b"\t " * (BYTES // 2) + b"b", b"origin:" * (BYTES // 7)]
)
@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_a_long_line_takes_linear_time(line: bytes, end: bytes) -> None:
    """A client cannot keep a worker busy with white space."""
    assert (origin_in(b"GET / HTTP/1.1\r\nOrigin:" + line + end) is None) == (not end)
