"""A result that arrives later, and whose callbacks run at once.

The callbacks of an `asyncio.Future` run in a later turn of the event loop. That turn
and the bookkeeping for it cost a tenth of a frequent request (docs/performance.md).
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
# A result, or the error in its place.
Outcome: TypeAlias = T | Exception
Callback: TypeAlias = Callable[[Outcome[T]], None]

_PENDING: Final = object()


class Deferred(Generic[T]):
    """A result that one caller sets, and others await or get by a callback.

    A waiter that is cancelled affects neither the operation nor the other waiters.
    """

    # Set on the class, because one deferred is made for each request.
    _outcome: Any = _PENDING
    _callbacks: tuple[Callback[T], ...] = ()

    @classmethod
    def of(cls, coroutine: Coroutine[Any, Any, T]) -> "Deferred[T]":
        """Run a coroutine in a task that no waiter can cancel. Returns its result."""
        deferred = cls()
        task = asyncio.ensure_future(coroutine)
        task.add_done_callback(lambda done: deferred.resolve(_outcome_of(done)))
        return deferred

    @property
    def is_resolved(self) -> bool:
        """Whether the result or the error is there."""
        return self._outcome is not _PENDING

    def resolve(self, outcome: Outcome[T]) -> None:
        """Set the result or the error, once, and run the callbacks.

        The event loop logs an error of a callback, and the others still run.
        """
        self._outcome = outcome
        # The traceback of an error may keep this object, but no callback.
        callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            try:
                callback(outcome)
            except Exception as error:  # noqa: BLE001 - it belongs to the callback
                # The callback is left out. Its description may show a user id.
                context = {"message": "Exception in a callback of a deferred", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

    def add_callback(self, callback: Callback[T]) -> None:
        """Call `callback` with the result or the error, now if it is there already."""
        if self.is_resolved:
            callback(self._outcome)
        else:
            self._callbacks += (callback,)

    def __await__(self) -> Generator[Any, None, T]:
        """Return the result, or raise the error."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.add_callback(partial(_settle, future))
        return future.__await__()


def _settle(future: asyncio.Future[T], outcome: Outcome[T]) -> None:
    if future.done():  # the waiter was cancelled
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _outcome_of(task: asyncio.Task[T]) -> Outcome[T]:
    try:
        return task.result()
    except Exception as error:  # noqa: BLE001 - raised where the result is awaited
        return error
