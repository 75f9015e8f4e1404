"""A store whose replies get lost: one server, Sentinel or Cluster behind proxies."""

from tests.support.proxied_store import ProxiedStore, Store
from tests.support.proxy import Decides, LossyProxy


class LossyStore(ProxiedStore[LossyProxy]):
    """Puts a `LossyProxy` before each server of a store."""

    def __init__(self, store: Store, loses_reply: Decides | None = None) -> None:
        """Without `loses_reply`, a reply is only lost after `lose_next`."""
        super().__init__(store, lambda port: LossyProxy(port, loses_reply or self._is_next))
        self._loses_next = False

    def lose_next(self) -> None:
        """Lose the next reply."""
        self._loses_next = True

    def _is_next(self) -> bool:
        self._loses_next, is_next = False, self._loses_next
        return is_next

    @property
    def lost(self) -> int:
        """Return the number of lost replies."""
        return sum(proxy.lost for proxy in self.proxies)
