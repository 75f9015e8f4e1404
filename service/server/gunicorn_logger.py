"""The log of gunicorn's supervisor, which is the log of the service."""

from gunicorn.glogging import Logger


class SupervisorLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines go where all others go."""

    def setup(self, cfg: object) -> None:
        """Leave handlers and levels as `logs.configure` set them."""
        self.cfg = cfg
        self.error_log.propagate = True
        self._access_log_enabled = False

    def close_on_exec(self) -> None:
        """Do nothing: there is no log file of gunicorn's."""

    def reopen_files(self) -> None:
        """Do nothing: there is no log file of gunicorn's."""
