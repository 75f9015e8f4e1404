"""The contract of the server that makes front doors: the part that they use."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from service.api.aiohttp_internals.connection import Connection
    from service.api.front_door.door import FrontDoor


class Host(Protocol):
    """The server of a door."""

    keepalive_seconds: float

    def make_connection(self) -> "Connection":
        """Return aiohttp's protocol for a connection."""

    def opened(self, door: "FrontDoor") -> None:
        """Note a new connection."""

    def closed(self, door: "FrontDoor") -> None:
        """Forget a connection that was lost."""
