"""The parent process.

It starts workers, replaces those that end or hang, and stops them at shutdown.

gunicorn's arbiter has the main loop and the signal queue. `Supervisor` changes its
reaction to failures: one worker that cannot start would halt it, a pause of the machine
would make it kill every worker, and an error at a fork would end it.
"""

import logging
import os
import signal
import time
from typing import NamedTuple

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from service import stop_signals
from service.backoff import Backoff
from service.errors import ServerError
from service.server.heartbeats import AwakeTime, Heartbeats
from service.telemetry.exit_status import exit_in_words

_logger = logging.getLogger(__name__)

_FAILED = 1
_POLL_SECONDS = 0.05
_QUICK_STOP_SECONDS = 2.0  # after a second Ctrl-C
# A killed process ends within milliseconds, unless it waits for a disk.
_KILL_SECONDS = 1.0
_KILL_POLL_SECONDS = 0.01
_STABLE_SECONDS = 5.0  # a worker that fails sooner will probably fail again


class _Start(NamedTuple):
    """The start of a worker."""

    at: float  # seconds on the monotonic clock
    heartbeat: float  # time of the last heartbeat before the fork


class Supervisor(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """The parent process of the service."""

    # gunicorn's other signals would start a second supervisor, which outlives this one,
    # or change the number of workers. A terminal sends SIGTTIN and SIGTTOU to programs
    # in the background.
    SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
    _IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH)

    def __init__(self, app: object) -> None:
        super().__init__(app)
        self._terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]
        self._starts: dict[int, _Start] = {}
        self._heartbeats = Heartbeats()
        self._backoff = Backoff()
        self._has_served = False
        self._is_announced = False
        self._is_stopping = False

    def init_signals(self) -> None:
        """Handle signals, including those that arrived while the service started."""
        super().init_signals()
        for number in self._IGNORED:
            signal.signal(number, signal.SIG_IGN)
        stop_signals.release()

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """Wait for signals.

        While the service starts, return earlier, so that its progress is noticed.
        """
        signals: list[int] = super().wait_for_signals(timeout if self._is_announced else _POLL_SECONDS)
        return signals

    def manage_workers(self) -> None:
        """Replace processes that ended, including the embedded server.

        Runs once a second.
        """
        if self.app.embedded is not None:
            try:
                self.app.embedded.watch()
            except ServerError as error:
                raise HaltServer(str(error), _FAILED) from None
        self.app.count_dropped()
        super().manage_workers()
        self._note_progress()

    def spawn_workers(self) -> None:
        """Start missing workers, unless the pause after a failure is not over."""
        if not self._backoff.is_due:
            return
        try:
            super().spawn_workers()
        except OSError as error:
            # There is no file descriptor, no memory, or no room for the heartbeat.
            self._start_failed(f"a worker cannot be started ({error.strerror or error})")

    def spawn_worker(self) -> int:
        """Fork a worker, whose signals are held until its event loop can handle them.

        The child starts with the supervisor's handlers. They would put signals into the
        child's copy of the queue, which nothing reads.
        """
        self.app.choose_heartbeat_folder()
        stop_signals.hold()
        try:
            pid: int = super().spawn_worker()
        finally:
            stop_signals.release()
        self._starts[pid] = _Start(time.monotonic(), self.WORKERS[pid].first_heartbeat)
        return pid

    def reap_workers(self) -> None:
        """Collect ended processes.

        The service keeps running without a worker that could not start.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.app.embedded is not None and self.app.embedded.record_exit(pid, status):
                continue
            worker = self.WORKERS.pop(pid, None)
            if worker is not None:
                self._note_end(pid, os.waitstatus_to_exitcode(status), has_served=self._has_started(pid, worker))
                worker.tmp.close()
                self.cfg.child_exit(self, worker)

    def murder_workers(self) -> None:
        """Replace workers that hang.

        Time during which the supervisor did not run does not count.
        """
        silences = self._heartbeats.silences({pid: w.tmp.last_update() for pid, w in self.WORKERS.items()})
        for pid, seconds in silences.items():
            if seconds <= self.timeout:
                continue
            worker = self.WORKERS[pid]
            if not worker.aborted:
                _logger.error("worker %d has hung for %.0f s and is replaced", pid, seconds)
            self.kill_worker(pid, signal.SIGKILL if worker.aborted else signal.SIGABRT)
            worker.aborted = True

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Stop listening, make the workers drain, and kill those that take too long.

        Time is counted as in `murder_workers`: a pause of the machine does not shorten
        it.
        """
        self._is_stopping = True
        while self.LISTENERS:
            self.LISTENERS.pop().close()
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGINT)
        awake, left = AwakeTime(), float(self.cfg.graceful_timeout)
        while self.WORKERS and left > 0:
            if signal.SIGINT in super().wait_for_signals(_POLL_SECONDS):
                self.kill_workers(signal.SIGINT)
                left = min(left, _QUICK_STOP_SECONDS)
            left -= awake.step()
            self.reap_workers()
        self.kill_workers(signal.SIGKILL)
        deadline = time.monotonic() + _KILL_SECONDS
        while self.WORKERS and time.monotonic() < deadline:  # so that each is logged
            self.reap_workers()
            time.sleep(_KILL_POLL_SECONDS)

    def handle_hup(self) -> None:
        """Reload the API keys and the certificate, here and in the workers.

        Each is reloaded even when the other fails. A terminal that closes sends the
        same signal, and the service then stops instead.
        """
        if self._terminals and not os.isatty(self._terminals[0]):
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in self._terminals:
                # Writing to a closed terminal would change the exit status.
                os.dup2(nowhere, stream)
            raise StopIteration
        # The operator may have fixed the reason why workers did not start.
        self._backoff.reset()
        if self.app.reload_keys():
            names = ", ".join(key.name for key in self.app.settings.api_keys) or "none: every answer is 401"
            _logger.info("API keys reloaded (%s). Other settings need a restart", names)
            self.kill_workers(signal.SIGHUP)
        if self.app.tls is not None and self.app.tls.reload():
            self.app.tls.log_validity()
            self.kill_workers(signal.SIGUSR1)

    def handle_int(self) -> None:
        """Stop without the drain delay. gunicorn would send SIGQUIT and dump core."""
        self.kill_workers(signal.SIGINT)
        raise StopIteration

    def _has_started(self, pid: int, worker: object) -> bool:
        """Return whether the worker has sent a heartbeat, the first when it listens."""
        heartbeat: float = worker.tmp.last_update()  # type: ignore[attr-defined]  # gunicorn has no types
        return pid in self._starts and heartbeat != self._starts[pid].heartbeat

    def _note_progress(self) -> None:
        started = [pid for pid, worker in self.WORKERS.items() if self._has_started(pid, worker)]
        if started and not self._is_announced and self.app.is_store_ready:
            self._is_announced = True
            self.app.announce()
        elif started and not self._has_served:
            self.app.announce_start()
        self._has_served |= bool(started)
        if len(started) == self.num_workers and self._are_stable(started):
            self._backoff.reset()

    def _are_stable(self, pids: list[int]) -> bool:
        latest = max((self._starts[pid].at for pid in pids), default=0.0)
        return time.monotonic() - latest > _STABLE_SECONDS

    def _note_end(self, pid: int, status: int, *, has_served: bool) -> None:
        start = self._starts.pop(pid)
        if status == 0:
            return
        how = exit_in_words(status)
        if self._is_stopping:
            _logger.warning("worker %d %s before it had answered all its requests", pid, how)
        elif has_served and time.monotonic() - start.at > _STABLE_SECONDS:
            _logger.error("worker %d %s. A new worker is started", pid, how)
        else:
            self._has_served |= has_served
            self._start_failed(f"worker {pid} {how}{'' if has_served else ' before it served'}")

    def _start_failed(self, failure: str) -> None:
        """Schedule another attempt.

        A service that never served, and has no worker, stops instead.
        """
        if not self._has_served and not self.WORKERS:
            raise HaltServer(f"{failure}, and no other worker runs: the service cannot start", _FAILED)
        pause = self._backoff.failed()
        running = f"{len(self.WORKERS)} of {self.num_workers} workers run"
        _logger.error("%s. %s. Trying again in %.1f s", failure, running, pause)
