"""Logs the risks of how Redis is set up, each once in all workers of the service."""

import logging
import mmap

from service.log_turn import Turn
from service.store_state import RISKS, StoreState, risks_of

_logger = logging.getLogger(__name__)


class RiskLog:
    """Remembers which risks are logged, in memory that this process shares with its forks."""

    def __init__(self) -> None:
        self._turn = Turn()
        self._is_logged = mmap.mmap(-1, len(RISKS))

    def note(self, state: StoreState) -> None:
        """Log a warning for each risk that was not there before. An unknown setting changes nothing."""
        found = risks_of(state)
        with self._turn:
            for place, name in enumerate(RISKS):
                if name not in found:
                    continue
                risk, was_logged = found[name], self._is_logged[place]
                self._is_logged[place] = risk is not None
                if risk is not None and not was_logged:
                    _logger.warning("Redis: %s; %s", risk.problem, risk.advice)
