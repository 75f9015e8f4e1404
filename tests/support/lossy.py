"""A store whose replies get lost: one server, Sentinel or Cluster behind proxies."""

from tests.support.proxied_store import ProxiedStore, Store
from tests.support.proxy import Decides, LossyProxy


class LossyStore(ProxiedStore[LossyProxy]):
    """Puts a `LossyProxy` before each server of a store."""

    def __init__(self, store: Store, loses_reply: Decides) -> None:
        super().__init__(store, lambda port: LossyProxy(port, loses_reply))

    @property
    def lost(self) -> int:
        """Return the number of lost replies."""
        return sum(proxy.lost for proxy in self.proxies)
