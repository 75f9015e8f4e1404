"""The signals that end `jay-tracking torture` early: SIGINT, from Ctrl-C, and SIGTERM.

The first signal ends the load only, so that the command checks and ends its sessions.
The second one ends the command.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

T = TypeVar("T")


class Interrupts(AbstractContextManager["Interrupts"]):
    """Handles the signals while its context lasts. `on_first` is called once."""

    def __init__(self, on_first: Callable[[], object]) -> None:
        self._on_first = on_first
        self._task: asyncio.Task[object] | None = None
        self.has_begun = False

    def __enter__(self) -> Self:
        self._earlier = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in an event loop and return its result.

        Raises KeyboardInterrupt at the second signal, after the coroutine was
        cancelled. asyncio leaves SIGINT to the handler that is in place.
        """

        async def cancellable() -> T:
            self._task = asyncio.current_task()
            try:
                return await steps
            finally:
                self._task = None

        try:
            return asyncio.run(cancellable())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's signature
        if not self.has_begun:
            self.has_begun = True
            self._on_first()
        elif self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        else:
            raise KeyboardInterrupt
