"""Log lines on standard error: JSON for machines, plain text for a terminal.

No line has an API key, a session id or a user id. The line of a request has its method,
route, status and the *name* of the key.
"""

import asyncio
import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TextIO

from service.config.telemetry_settings import LogSettings
from service.telemetry.error_text import describe
from service.telemetry.log_stream import LogStream, dropped_notice
from service.telemetry.request_recorder import RequestRecord

_logger = logging.getLogger(__name__)


def configure(settings: LogSettings, stream: TextIO | None = None) -> "RequestLog":
    """Set up the logging of the process to `stream`, by default standard error.

    Returns the request log.
    """
    stream = stream or sys.stderr
    as_text = settings.format == "text" or (settings.format == "auto" and stream.isatty())
    formatter = TextFormatter() if as_text else JsonFormatter()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    if isinstance(stream, LogStream):
        stream.describe_dropped = lambda dropped: f"{formatter.format(_dropped_record(dropped))}\n"
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    # Its info lines ("Booting worker with pid") do not help an operator.
    logging.getLogger("gunicorn").setLevel(max(logging.WARNING, root.level))
    return RequestLog(stream, as_text=as_text, is_enabled=root.level <= logging.INFO)


def _dropped_record(dropped: int) -> logging.LogRecord:
    message = dropped_notice(dropped).rstrip()
    return logging.makeLogRecord(
        {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": message}
    )


def _traceback_text(record: logging.LogRecord) -> str | None:
    """Return the traceback of a record's error and its causes, without unsafe messages.

    Returns None for a record without an error.
    """
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return None
    return "".join(_traceback(error, may_quote_client=getattr(record, "may_quote_client", False)))


def _traceback(error: BaseException | None, *, may_quote_client: bool) -> Iterator[str]:
    """Yield the traceback of an error and its causes, the first cause first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for one in reversed(chain):
        yield f"{describe(one, may_quote_client=may_quote_client)}\n{''.join(traceback.format_tb(one.__traceback__))}"
        if isinstance(one, BaseExceptionGroup):
            for member in one.exceptions:
                yield from _traceback(member, may_quote_client=may_quote_client)


class JsonFormatter(logging.Formatter):
    """One JSON object per line, in ASCII to be valid in every encoding.

    Its fields are time, level, logger and message, at the start `settings`, and for an
    error `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        content: dict[str, object] = {
            "time": f"{_utc(int(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            # Many readers reject JSON's escapes of lone surrogates, so these are
            # escaped twice.
            "message": record.getMessage().encode(errors="backslashreplace").decode(),
        }
        if settings := getattr(record, "settings", None):
            content["settings"] = settings
        if text := _traceback_text(record):
            content["traceback"] = text.encode(errors="backslashreplace").decode()
        return json.dumps(content, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """Time of day, level and message, then the traceback of an error."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        # The base class would write the messages of all errors.
        record.exc_text = _traceback_text(record)
        return super().format(record)


def log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log errors that no task awaits.

    asyncio would log their messages, which may quote a client.
    """
    error = context.get("exception")
    _logger.error("event loop: %s", context["message"], exc_info=error, extra={"may_quote_client": True})


def install_error_hooks() -> None:
    """Log Python's warnings and uncaught errors from now on, by the same rule."""
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _, error, __: _log_uncaught("uncaught error", error)
    threading.excepthook = lambda caught: _log_uncaught("uncaught error in a thread", caught.exc_value)
    sys.unraisablehook = lambda caught: _log_uncaught("error that cannot be raised", caught.exc_value)


def _log_uncaught(message: str, error: BaseException | None) -> None:
    _logger.critical(message, exc_info=error, extra={"may_quote_client": True})


class RequestLog:
    """Writes one line per request."""

    def __init__(self, stream: TextIO, *, as_text: bool, is_enabled: bool) -> None:
        self._stream = stream
        self._is_enabled = is_enabled
        self._lines = _text_lines if as_text else _json_lines

    def write_records(self, records: Sequence[RequestRecord]) -> None:
        """Write one line per record.

        No string needs escaping: all are from fixed sets or made by the service.
        """
        if self._is_enabled:
            try:
                self._stream.write(self._lines(records))
                self._stream.flush()
            except OSError:
                # As in logging's own handlers, a broken log does not stop the service.
                pass

    def drain_dropped(self) -> int:
        """Return how many lines of this process were dropped since the last call."""
        return self._stream.drain_dropped() if isinstance(self._stream, LogStream) else 0


# `.000` to `.999`. Formatting these numbers took half of the time of a line.
_THOUSANDTHS = [f".{number:03}" for number in range(1000)]


def _json_lines(records: Sequence[RequestRecord]) -> str:
    lines = []
    for moment, method, route, status, seconds, request_id, key, ref in records:
        second, microseconds = int(moment), int(seconds * 1e6)
        lines.append(
            f'{{"time":"{_utc(second)}{_THOUSANDTHS[int((moment - second) * 1000)]}Z","level":"info",'
            f'"message":"request","method":"{method}","route":"{route}","status":{status},'
            f'"ms":{microseconds // 1000}{_THOUSANDTHS[microseconds % 1000]},'
            f'"request_id":"{request_id}","key":"{key}"'
        )
        lines.append(f',"session_ref":"{ref}"}}\n' if ref else "}\n")
    return "".join(lines)


def _text_lines(records: Sequence[RequestRecord]) -> str:
    return "".join(
        f"{_clock(int(moment))} {method:7} {route} {status} {seconds * 1000:.1f} ms key={key} id={request_id}"
        f"{f' session={ref}' if ref else ''}\n"
        for moment, method, route, status, seconds, request_id, key, ref in records
    )


@lru_cache(maxsize=4)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=4)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))
