import asyncio
import errno
import io
import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import orjson
import pytest

from service.config.telemetry_settings import LogSettings
from service.telemetry import logs
from service.telemetry.request_recorder import RequestRecorder


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    gunicorn = logging.getLogger("gunicorn")
    gunicorn_level = gunicorn.level
    yield
    root.handlers, root.level = handlers, level
    gunicorn.setLevel(gunicorn_level)


async def test_a_request_is_one_json_line() -> None:
    """A JSON line has the fields to filter by, and the time is RFC 3339 in UTC."""
    stream = io.StringIO()
    log = logs.configure(LogSettings(), stream)
    recorder = RequestRecorder([log.write_records])
    now = time.time()
    recorder.record((now, "GET", "/v1/playouts/tracking/session", 200, 0.0123456, "0123456789abcdef", "demo"))
    assert stream.getvalue() == ""
    recorder.flush()
    line = json.loads(stream.getvalue())
    assert abs(datetime.fromisoformat(line.pop("time")).timestamp() - now) < 0.001
    assert line == {
        "level": "info",
        "message": "request",
        "method": "GET",
        "route": "/v1/playouts/tracking/session",
        "status": 200,
        "ms": 12.345,
        "request_id": "0123456789abcdef",
        "key": "demo",
    }


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_request_may_have_the_ref_of_its_session(form: Literal["json", "text"]) -> None:
    """A line has the session's ref when the record has one."""
    stream = io.StringIO()
    log = logs.configure(LogSettings(format=form), stream)
    record = (time.time(), "GET", "/x", 200, 0.0012, "0123456789abcdef", "demo")
    log.write_records([(*record, "5e" * 16), (*record, "")])
    with_ref, without = stream.getvalue().splitlines()
    if form == "json":
        assert json.loads(with_ref)["session_ref"] == "5e" * 16
        assert "session_ref" not in json.loads(without)
    else:
        assert with_ref == f"{without} session={'5e' * 16}"


async def test_text_is_for_people() -> None:
    """In a terminal a request is one readable line."""
    stream = io.StringIO()
    log = logs.configure(LogSettings(format="text"), stream)
    logging.getLogger("service").info("hello")
    log.write_records([(time.time(), "POST", "/x", 201, 0.0012, "0123456789abcdef", "demo", "")])
    greeting, request = stream.getvalue().splitlines()
    assert greeting.endswith("INFO    hello")
    assert request.endswith("POST    /x 201 1.2 ms key=demo id=0123456789abcdef")


async def test_above_info_requests_are_not_logged() -> None:
    """The level applies to request lines too."""
    stream = io.StringIO()
    log = logs.configure(LogSettings(level="warning"), stream)
    log.write_records([(0.0, "GET", "/x", 200, 0.1, "id", "-", "")])
    logging.getLogger("service").warning("kept")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["kept"]


async def test_an_exception_is_one_line_with_its_traceback() -> None:
    """A log event has no message of an error, because it may quote a client."""
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("service").exception("internal error")
    (line,) = stream.getvalue().splitlines()
    shown = json.loads(line)["traceback"]
    assert "ValueError" in shown
    assert "test_logs.py" in shown
    assert "boom" not in shown.replace('raise ValueError("boom")', "")


def test_a_request_has_the_local_time_of_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text lines of requests have the same clock as the other text lines."""
    stream = io.StringIO()
    log = logs.configure(LogSettings(format="text"), stream)
    try:
        with monkeypatch.context() as patched:
            patched.setenv("TZ", "EST+5")
            time.tzset()
            log.write_records([(1_000_000_000.0, "GET", "/x", 200, 0.1, "id", "-", "")])
    finally:
        time.tzset()
    assert stream.getvalue().startswith("20:46:40 ")


def traceback_of(error: BaseException) -> str:
    """Return the traceback in the JSON line of an error."""
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    logging.getLogger("service").error("failed", exc_info=error)
    return str(json.loads(stream.getvalue())["traceback"])


def test_a_traceback_has_every_error_that_led_to_it() -> None:
    """The first cause comes first, and a group comes before its errors."""
    first, second, third = KeyError(), ValueError(), TypeError()
    third.__cause__, second.__context__ = second, first
    assert traceback_of(third).split() == ["KeyError", "ValueError", "TypeError"]
    group = ExceptionGroup("two", [third, LookupError()])
    assert traceback_of(group).split() == ["ExceptionGroup", "KeyError", "ValueError", "TypeError", "LookupError"]


def test_errors_that_lead_to_each_other_are_written_once() -> None:
    """A traceback ends when a cause has the error as its own cause."""
    first, second = KeyError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert traceback_of(first).split() == ["ValueError", "KeyError"]


def test_a_lone_surrogate_is_readable_for_every_parser() -> None:
    """A line has no escape of a lone surrogate, which many parsers of JSON reject."""
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    logging.getLogger("service").warning("folder \udcff")
    assert orjson.loads(stream.getvalue())["message"] == "folder \\udcff"


def test_a_lone_surrogate_of_a_path_is_readable_in_a_traceback() -> None:
    """The path in an error may have bytes that are not UTF-8."""
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    logging.getLogger("service").error("failed", exc_info=FileNotFoundError(errno.ENOENT, "x", "/folder \udcff"))
    assert orjson.loads(stream.getvalue())["traceback"].endswith(": /folder \\udcff\n")


@pytest.mark.parametrize(("level", "kept"), [("debug", ["warning", "error"]), ("error", ["error"])])
def test_gunicorn_logs_warnings_and_errors(level: Literal["debug", "error"], kept: list[str]) -> None:
    """Its info lines do not help an operator, and a higher level applies to it too."""
    stream = io.StringIO()
    logs.configure(LogSettings(format="json", level=level), stream)
    for name in ("info", "warning", "error"):
        logging.getLogger("gunicorn.error").log(logging.getLevelNamesMapping()[name.upper()], "line")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == kept


async def test_a_broken_pipe_does_not_stop_the_service() -> None:
    """A log reader that goes away does not stop the service."""

    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    log = logs.RequestLog(Broken(), as_text=False, is_enabled=True)
    log.write_records([(0.0, "GET", "/x", 200, 0.1, "id", "-", "")])


async def test_an_error_that_nobody_awaits_is_logged_without_its_message() -> None:
    """The line has the types of the error and its causes, and no client data."""
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    try:
        try:
            raise KeyError("canary")
        except KeyError as error:
            raise ValueError("canary") from error
    except ValueError as error:
        context = {"message": "Task exception was never retrieved", "exception": error, "future": "canary"}
        logs.log_loop_error(asyncio.get_running_loop(), context)
    line = json.loads(stream.getvalue())
    assert line["message"] == "event loop: Task exception was never retrieved"
    assert "KeyError" in line["traceback"]
    assert "ValueError" in line["traceback"]
    assert '"canary"' not in re.sub(r"raise .*", "", line["traceback"])
