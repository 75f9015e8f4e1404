"""What was answered: noted in one step per request, worked up many at a time by the log and the metrics.

A line of the standard logging module would cost a tenth of a GET, and Prometheus's client half as much again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

FLUSH_SECONDS = 0.1  # what a SIGKILL takes is that much

# When in seconds since the epoch, method, route, status, seconds it took, request id, name of the API key or "-". All
# texts are from fixed sets or made by the service. A plain tuple: a class would cost ten times as much to make.
Entry: TypeAlias = tuple[float, str, str, int, float, str, str]
Reader: TypeAlias = Callable[[Sequence[Entry]], None]


class Journal:
    """Collects entries and hands them to its readers, ten times a second at most, and not at all when idle."""

    def __init__(self, *readers: Reader) -> None:
        self._readers = readers
        self._entries: list[Entry] = []

    def note(self, entry: Entry) -> None:
        """Note a request that was answered."""
        if not self._entries:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._entries.append(entry)

    def flush(self) -> None:
        """Hand over what there is."""
        if self._entries:
            entries, self._entries = self._entries, []
            for reader in self._readers:
                reader(entries)
