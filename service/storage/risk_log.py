"""Logs the risks in the configuration of Redis.

All workers together log each risk once.
"""

import logging
import mmap

from service.process_lock import ProcessLock
from service.store_status import RISKS, StoreStatus, risks_of

_logger = logging.getLogger(__name__)


class RiskLog:
    """Remembers the logged risks in memory that this process shares with its forks."""

    def __init__(self) -> None:
        self._lock = ProcessLock("jay-risks")
        self._is_logged = mmap.mmap(-1, len(RISKS))

    def record(self, status: StoreStatus) -> None:
        """Log a warning for each new risk.

        A setting that Redis does not report is skipped.
        """
        found = risks_of(status)
        with self._lock:
            for position, name in enumerate(RISKS):
                if name not in found:
                    continue
                risk, was_logged = found[name], self._is_logged[position]
                self._is_logged[position] = risk is not None
                if risk is not None and not was_logged:
                    _logger.warning("Redis: %s. Fix: %s", risk.problem, risk.advice)
