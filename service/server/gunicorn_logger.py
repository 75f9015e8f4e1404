"""Sends the log lines of gunicorn to the service's log."""

from gunicorn.glogging import Logger


class SupervisorLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """A logger of gunicorn without handlers.

    The handlers of the root logger write its lines.
    """

    def setup(self, cfg: object) -> None:
        """Keep the handlers and levels of `logs.configure`."""
        self.cfg = cfg
        self.error_log.propagate = True
        self._access_log_enabled = False

    def close_on_exec(self) -> None:
        """Do nothing: gunicorn has no log file."""

    def reopen_files(self) -> None:
        """Do nothing: gunicorn has no log file."""
