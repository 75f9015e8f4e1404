"""The `create_limit` of API keys: how often a client address may create sessions.

A key in a web page is public, so without a limit anyone can fill Redis. The limit is
exact within a worker and makes no Redis call. A client whose connections reach several
workers or machines can create that many times the limit.
"""

import logging
import math
from collections.abc import Callable
from typing import TypeVar

from service import errors
from service.api.client_address import ClientAddresses
from service.api_keys import ApiKey
from service.deferred import Deferred
from service.rate_limits import RateLimit, RateLimiter
from service.sessions import Session
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

# Whether a new session was stored, or the session that was stored first for a request.
Stored = TypeVar("Stored", bool, Session | None)


class CreateLimits:
    """Rejects creations over the limit of their API key."""

    def __init__(self, addresses: ClientAddresses, limiter: RateLimiter) -> None:
        self.addresses = addresses
        self._limiter = limiter
        self._log_limit = LogLimit()

    def create(
        self, key: ApiKey, address: Callable[[], str], new: Session, create: Callable[[], Deferred[Stored]]
    ) -> Deferred[Stored]:
        """Create a session and count it. Raises TooManyRequests.

        `address` returns the client's address. `create` returns True or `new` when it
        stores the new session. Otherwise the creation does not count, so that neither
        an outage nor a repeated request uses up the limit. Two API keys of one name, as
        in a rotation, share their counts.
        """
        limit = key.create_limit
        if limit is None:
            return create()
        client = key.name, address()
        self._admit(client, limit)

        def settle(stored: object) -> None:
            if stored is not True and stored != new:
                self._limiter.give_back(client, limit)

        try:
            deferred = create()
        except errors.Overloaded as error:
            settle(error)
            raise
        deferred.add_callback(settle)
        return deferred

    def _admit(self, client: tuple[str, str], limit: RateLimit) -> None:
        """Count a creation by an API key and a client address."""
        wait = self._limiter.admit(client, limit)
        if not wait:
            return
        if self._log_limit.allows(client[0]):
            _logger.warning(
                "a client address reached the create_limit of the API key %s and gets 429. Check that "
                "server.trusted_proxies lists the proxy in front",
                client[0],
            )
        raise errors.TooManyRequests(
            "This client address creates sessions faster than the API key's `create_limit` allows. Keep the session "
            "that was created, or repeat the request after Retry-After.",
            math.ceil(wait),
        )
