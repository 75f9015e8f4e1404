"""The settings that the service passes to gunicorn."""

import io
import os
import socket

import pytest
from gunicorn.config import Config

from service.config.settings import ServerSettings, Settings
from service.config.telemetry_settings import MetricsSettings
from service.errors import ServerError
from service.server.application import _EXIT_SECONDS, Application
from service.server.gunicorn_logger import SupervisorLogger
from service.server.listener import bind
from service.telemetry import logs


@pytest.mark.parametrize("seconds", [0.0, 0.25, 10.0])
def test_a_worker_has_all_the_time_that_it_needs_to_stop(seconds: float) -> None:
    """gunicorn counts whole seconds, and the time after the requests is not cut."""
    server = ServerSettings(port=0, drain_seconds=seconds, shutdown_seconds=seconds)
    settings = Settings(server=server, metrics=MetricsSettings(enabled=False))
    listener = bind(server)
    request_log = logs.RequestLog(io.StringIO(), as_text=True, is_enabled=False)
    application = Application(
        settings, lambda: settings, listener, None, request_log=request_log, announce=lambda _: None
    )
    os.close(int(application.cfg.bind[0].removeprefix("fd://")))
    assert application.cfg.graceful_timeout >= 2 * seconds + _EXIT_SECONDS


def test_lines_of_gunicorn_are_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """They have the handlers and the format of the service."""
    SupervisorLogger(Config()).error("a line of gunicorn")
    assert caplog.messages == ["a line of gunicorn"]


def test_the_advice_for_a_port_in_use_names_its_cause() -> None:
    """It is about the program that uses the port, not about the address."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ServerError, match="stop the program that uses the port"),
    ):
        bind(ServerSettings(port=other.getsockname()[1]))
