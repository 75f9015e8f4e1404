"""A discovery whose primary a test moves."""

from collections.abc import Sequence

from service.config.settings import RedisSettings
from service.sessions import SHARD_COUNT
from service.storage.discovery import Discovery


class MovingPrimary(Discovery):
    """Finds the server that a test names."""

    def __init__(self, url: str, *, needs_polling: bool = False) -> None:
        super().__init__(RedisSettings())
        self.needs_polling = needs_polling
        self.url = url

    async def find(self) -> Sequence[str]:
        return (self.url,) * SHARD_COUNT
