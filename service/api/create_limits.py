"""The `create_limit` of API keys: how often a client address may create sessions.

A key in a web page is public, so without a limit anyone can fill Redis. The limit is
exact within a worker and makes no Redis call. A client whose connections reach several
workers or machines can create that many times the limit.
"""

import logging
import math

from aiohttp import web

from service import errors
from service.api.auth import API_KEY
from service.api.client_address import ClientAddresses
from service.api_keys import ApiKey
from service.rate_limits import RateLimit, RateLimiter
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)


class CreateLimits:
    """Rejects creations over the limit of their API key."""

    def __init__(self, addresses: ClientAddresses, limiter: RateLimiter) -> None:
        self._addresses = addresses
        self._limiter = limiter
        self._log_limit = LogLimit()

    def check(self, request: web.Request) -> None:
        """Count a creation by the request's client. Raises TooManyRequests.

        Two API keys of one name, as in a rotation, share their counts.
        """
        key = request[API_KEY]
        if key.create_limit is not None:
            self.count(key, key.create_limit, self._addresses.of(request))

    def count_peer(
        self, key: ApiKey, limit: RateLimit, peer: str, forwarded_for: str | None, forwarded: str | None
    ) -> None:
        """Count a creation by the client behind a peer. Raises TooManyRequests.

        `forwarded_for` and `forwarded` are the headers of proxies.
        """
        self.count(key, limit, self._addresses.behind(peer, forwarded_for, forwarded))

    def count(self, key: ApiKey, limit: RateLimit, address: str) -> None:
        """Count a creation by a client address. Raises TooManyRequests."""
        wait = self._limiter.admit((key.name, address), limit)
        if not wait:
            return
        if self._log_limit.allows(key.name):
            _logger.warning(
                "a client address reached the create_limit of the API key %s and gets 429. Check that "
                "server.trusted_proxies lists the proxy in front",
                key.name,
            )
        raise errors.TooManyRequests(
            "This client address creates sessions faster than the API key's `create_limit` allows. Keep the session "
            "that was created, or repeat the request after Retry-After.",
            math.ceil(wait),
        )
