"""What was answered: noted in one step per request, worked up many at a time by the log and the metrics.

A line of the standard logging module would cost a tenth of a GET, and Prometheus's client half as much again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

FLUSH_SECONDS = 0.1  # what a SIGKILL takes is that much
# Worked up while they are in the processor's cache: the thousands of a tenth of a second cost a GET 1 µs more. With
# fewer, writing the log costs as much.
CHUNK = 256

# When in seconds since the epoch, method, route, status, seconds it took, request id, name of the API key or "-". All
# texts are from fixed sets or made by the service. A plain tuple: a class would cost ten times as much to make.
Entry: TypeAlias = tuple[float, str, str, int, float, str, str]
Reader: TypeAlias = Callable[[Sequence[Entry]], None]


class Journal:
    """Collects entries and hands them to its readers, some hundreds at a time; does nothing when idle.

    `on_flush` are called a tenth of a second after an entry, when readers have all there is.
    """

    def __init__(self, readers: Sequence[Reader], on_flush: Sequence[Callable[[], None]] = ()) -> None:
        self._readers = readers
        self._on_flush = on_flush
        self._entries: list[Entry] = []
        self._is_scheduled = False

    def note(self, entry: Entry) -> None:
        """Note a request that was answered."""
        self._entries.append(entry)
        if len(self._entries) >= CHUNK:
            self._hand_over()
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._scheduled_flush)

    def flush(self) -> None:
        """Have readers and whoever comes after them do all that is to be done."""
        self._hand_over()
        for do in self._on_flush:
            do()

    def _scheduled_flush(self) -> None:
        self._is_scheduled = False
        self.flush()

    def _hand_over(self) -> None:
        if self._entries:
            entries, self._entries = self._entries, []  # first: a reader that fails must not be given them again
            for reader in self._readers:
                reader(entries)
