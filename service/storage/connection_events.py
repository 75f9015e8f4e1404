"""The events of a connection to Redis, and the default reaction to each."""

from collections.abc import Awaitable, Callable


class ConnectionEvents:
    """Receives the events of connections. `Lanes` overrides the methods."""

    def breaker_changed(self) -> None:
        """Handle a breaker that has opened or closed."""

    def recovered(self, url: str) -> None:
        """Handle the first answer of a server after an outage."""

    async def demoted(self, url: str, reconnect: Callable[[], Awaitable[None]]) -> None:  # noqa: ARG002
        """Handle a server that is no longer the primary, or is unfit.

        `reconnect` closes the connections of the lane that noticed it.
        """
        await reconnect()
