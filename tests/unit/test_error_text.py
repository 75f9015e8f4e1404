import asyncio
import errno
import io
import json
import logging
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import errors
from service.config.telemetry_settings import LogSettings
from service.telemetry import logs
from service.telemetry.error_text import describe

CANARY = "canary-8d2f"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook, sys.unraisablehook)
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "x", "/a/b"), "PermissionError: Permission denied (EACCES): /a/b"),
        (
            FileNotFoundError(errno.ENOENT, "x", b"/a/b"),
            "FileNotFoundError: No such file or directory (ENOENT): /a/b",
        ),
        (OSError(errno.EXDEV, "x", "/a", None, "/b"), "OSError: Invalid cross-device link (EXDEV): /a -> /b"),
        (OSError(errno.EMFILE, "x"), "OSError: Too many open files (EMFILE)"),
        (
            ConnectionRefusedError(errno.ECONNREFUSED, CANARY),
            "ConnectionRefusedError: Connection refused (ECONNREFUSED)",
        ),
        (OSError(errno.EBADF, "x", 7), "OSError: Bad file descriptor (EBADF)"),
        (OSError(9999, "x"), "OSError: Unknown error 9999 (9999)"),
        (OSError(CANARY), "OSError"),
        (TimeoutError(), "TimeoutError"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "gaierror: Name or service not known"),
        (socket.herror(1, "Unknown host"), "herror: Unknown host"),
        (ssl.SSLError(1, CANARY), "SSLError"),
        (errors.ServerError("use another port"), "ServerError: use another port"),
        (errors.ConfigError(["a is wrong", "b too"]), "ConfigError: a is wrong. b too"),
        (errors.StoreUnavailable("TimeoutError"), "StoreUnavailable: TimeoutError"),
        (ModuleNotFoundError("No module named 'x'"), "ModuleNotFoundError: No module named 'x'"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_safe_message_is_logged(error: BaseException, expected: str) -> None:
    """Messages of the system and of the service are logged."""
    assert describe(error) == expected


def test_an_error_of_tls_has_its_reason() -> None:
    """An error of TLS is logged with OpenSSL's constant reason only.

    Its message may contain the name of the peer.
    """
    with pytest.raises(ssl.SSLError) as caught:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(__file__)
    assert describe(caught.value) == "SSLError: NO_CERTIFICATE_OR_CRL_FOUND"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        KeyError(CANARY),
        TypeError(CANARY),
        RuntimeError(CANARY),
        AssertionError(CANARY),
        Exception(CANARY),
        json.JSONDecodeError(CANARY, CANARY, 0),
        UnicodeEncodeError("ascii", CANARY, 0, 1, CANARY),
        UnicodeDecodeError("ascii", CANARY.encode(), 0, 1, CANARY),
        OSError(errno.EIO, CANARY),
        errors.InvalidRequest(CANARY, member=CANARY),
        errors.MalformedRequest(CANARY),
        ExceptionGroup(CANARY, [ValueError(CANARY)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_message_that_may_quote_a_client_is_not_logged(error: Exception) -> None:
    """Only the type and the place of such an error are logged."""
    error.add_note(CANARY)
    assert type(error).__qualname__ in describe(error)
    for may_quote_client in (False, True):
        assert CANARY not in describe(error, may_quote_client=may_quote_client)
    assert CANARY not in logged(error, may_quote_client=False)


@pytest.mark.parametrize(
    "name", [CANARY, f"/{CANARY}/x", f"/etc/{CANARY}", f"../{CANARY}", f"/etc/{CANARY}\0", "/etc/" + CANARY * 1000]
)
def test_while_a_request_is_handled_a_path_is_shown_as_far_as_it_exists(name: str) -> None:
    """During a request, only the existing part of a path is logged.

    The rest may come from the client.
    """
    text = describe(FileNotFoundError(errno.ENOENT, "x", name), may_quote_client=True)
    assert text.startswith("FileNotFoundError: No such file or directory (ENOENT): ")
    assert CANARY not in text
    assert describe(PermissionError(errno.EACCES, "x", __file__), may_quote_client=True).endswith(__file__)
    assert describe(
        PermissionError(errno.EACCES, "x", f"{Path(__file__).parent}/new"), may_quote_client=True
    ).endswith(f"{Path(__file__).parent}/…")
    assert describe(PermissionError(errno.EACCES, "x", "new"), may_quote_client=True).endswith(f" {Path.cwd()}/…")


def logged(error: BaseException, *, may_quote_client: bool) -> str:
    """Return the whole log of a chained error, as text and as JSON."""
    shown = ""
    for form in ("text", "json"):
        stream = io.StringIO()
        logs.configure(LogSettings(format=form), stream)
        try:
            try:
                raise error
            except type(error) as first:
                raise LookupError from first
        except LookupError:
            logging.getLogger("service").exception("failed", extra={"may_quote_client": may_quote_client})
        shown += stream.getvalue()
    return shown


def test_the_log_says_which_file_cannot_be_used() -> None:
    """A file error outside a request is logged with its path."""
    shown = logged(PermissionError(errno.EACCES, "x", "/dev/shm/wgunicorn-1"), may_quote_client=False)  # noqa: S108
    assert shown.count("PermissionError: Permission denied (EACCES): /dev/shm/wgunicorn-1") == 2
    assert shown.count("LookupError") >= 2
    assert "test_error_text.py" in shown


async def test_the_event_loop_hides_what_may_be_a_clients() -> None:
    """Paths are hidden in callbacks of the event loop, which serve connections."""
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    error = FileNotFoundError(errno.ENOENT, "x", f"/{CANARY}/x")
    logs.log_loop_error(asyncio.get_running_loop(), {"message": "failed", "exception": error})
    assert "FileNotFoundError: No such file or directory (ENOENT): /" in json.loads(stream.getvalue())["traceback"]
    assert CANARY not in stream.getvalue()


def test_an_uncaught_error_is_a_log_line() -> None:
    """Uncaught errors of the process, threads and destructors are JSON lines."""
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    logs.install_error_hooks()
    error = ValueError(CANARY)
    sys.excepthook(ValueError, error, None)

    def fail() -> None:
        raise KeyError(CANARY)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    class Broken:
        def __del__(self) -> None:
            raise LookupError(CANARY)

    def drop(one: Callable[[], object]) -> None:
        one()

    drop(Broken)
    missing = FileNotFoundError(errno.ENOENT, "x", f"/{CANARY}/x")
    sys.excepthook(FileNotFoundError, missing, None)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    first, *others = [line["traceback"].partition("\n")[0] for line in reversed(lines)]
    assert first.startswith("FileNotFoundError: No such file or directory (ENOENT): /")
    assert others == ["LookupError", "KeyError", "ValueError"]
    assert CANARY not in stream.getvalue()


def test_a_warning_of_python_is_a_log_line() -> None:
    """A warning of a library is a JSON line, not text on standard error."""
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            logs.install_error_hooks()
            warnings.warn("old call", DeprecationWarning, stacklevel=1)
        finally:
            logging.captureWarnings(capture=False)
    line = json.loads(stream.getvalue())
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "DeprecationWarning: old call" in line["message"]
