"""Log lines, to standard error: JSON for machines, text for a terminal.

No line holds an API key, a session id or a user id; requests are told by method, route, status and key *name*.
"""

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TextIO

import orjson

from service.journal import Entry
from service.settings import LogSettings


def configure(settings: LogSettings, stream: TextIO = sys.stderr) -> "RequestLog":
    """Set up the process's logging; return the log of requests."""
    as_text = settings.format == "text" or (settings.format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    # Its informal lines ("Booting worker with pid") say nothing that an operator acts on.
    logging.getLogger("gunicorn").setLevel(max(logging.WARNING, root.level))
    return RequestLog(stream, as_text=as_text, is_enabled=root.level <= logging.INFO)


class _Formatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return types and places, not the texts: they may quote what a client sent."""
        error: BaseException | None = ei[1]
        parts = []
        while error is not None:
            parts.append(f"{type(error).__qualname__} at\n{''.join(traceback.format_tb(error.__traceback__))}")
            error = error.__cause__ or error.__context__
        return "".join(reversed(parts))


class JsonFormatter(_Formatter):
    """One JSON object a line: time, level, logger, message; the settings at the start, the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        content: dict[str, object] = {
            "time": f"{_utc(int(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().encode(errors="backslashreplace").decode(),  # orjson refuses surrogates
        }
        if settings := getattr(record, "settings", None):
            content["settings"] = settings
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(content).decode()


class TextFormatter(_Formatter):
    """Time of day, level and message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


def log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log errors that no task awaits; asyncio's own handler would write the error's text."""
    error = context.get("exception")
    logging.getLogger(__name__).error("event loop: %s", context["message"], exc_info=error)


class RequestLog:
    """One line per request."""

    def __init__(self, stream: TextIO, *, as_text: bool, is_enabled: bool) -> None:
        self._stream = stream
        self._is_enabled = is_enabled
        self._lines = _text_lines if as_text else _json_lines

    def take(self, entries: Sequence[Entry]) -> None:
        """Write lines. All texts are from fixed sets or made here, so none needs escaping."""
        if self._is_enabled:
            try:
                self._stream.write(self._lines(entries))
                self._stream.flush()
            except OSError:  # the log's reader is gone; the service is not its hostage
                pass


# `.000` to `.999`: looking them up is quicker than formatting numbers, which was half of the price of a line.
_THOUSANDTHS = [f".{number:03}" for number in range(1000)]


def _json_lines(entries: Sequence[Entry]) -> str:
    lines = []
    for moment, method, route, status, seconds, request_id, key in entries:
        second, microseconds = int(moment), int(seconds * 1e6)
        lines.append(
            f'{{"time":"{_utc(second)}{_THOUSANDTHS[int((moment - second) * 1000)]}Z","level":"info",'
            f'"message":"request","method":"{method}","route":"{route}","status":{status},'
            f'"ms":{microseconds // 1000}{_THOUSANDTHS[microseconds % 1000]},'
            f'"request_id":"{request_id}","key":"{key}"}}\n'
        )
    return "".join(lines)


def _text_lines(entries: Sequence[Entry]) -> str:
    return "".join(
        f"{_clock(int(moment))} {method:7} {route} {status} {seconds * 1000:.1f} ms key={key} id={request_id}\n"
        for moment, method, route, status, seconds, request_id, key in entries
    )


@lru_cache(maxsize=4)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=4)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))
