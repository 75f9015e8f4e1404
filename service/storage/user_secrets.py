"""Detects a changed `session.user_secret` by fingerprints in Redis.

A user's sessions are found under a keyed hash of the user id. With another secret,
sessions from before the change would not be found, and an erasure would succeed without
ending them. So Redis keeps a fingerprint of each secret under which sessions may live.
"""

import logging
import time
from collections.abc import Callable, Sequence

from service.digests import UserDigest
from service.errors import Overloaded, StoreUnavailable, UnknownUserSecret
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

RECORD_INTERVAL_SECONDS = 3600
# The clocks of the machines may differ by this.
_MARGIN_SECONDS = 3600

ADVICE = (
    "sessions of users exist that were created under another session.user_secret. Add that secret to "
    "session.previous_user_secrets, or set session.user_secret back to it, and restart the service"
)


class UserSecrets:
    """Compares the secrets in the settings with those in use.

    The first of the `digests` belongs to the current secret.
    """

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        digests: Sequence[UserDigest],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = [keyspace.secrets]
        self._known = {digest.fingerprint for digest in digests}
        self._current = digests[0].fingerprint
        self._clock = clock
        self._recorded_at: float | None = None
        self._log_limit = LogLimit()
        self._script = connection.script("secrets")

    async def check(self) -> None:
        """Raise UnknownUserSecret while sessions may live under an unknown secret.

        Raises StoreUnavailable and Overloaded too.
        """
        self._compare(await self._script(self._keys, [int(self._clock())]))

    async def start(self, ttl_seconds: int) -> None:
        """Check when a worker starts. Record the current secret if all are known.

        So a service with a wrong secret changes nothing before it creates a session of
        a user.
        """
        try:
            await self.check()
            await self.record(ttl_seconds)
        except (StoreUnavailable, Overloaded):
            # `check` and the connection log them. Every route of users checks again.
            return

    async def record(self, ttl_seconds: int) -> None:
        """Record once an hour that sessions are created under the current secret.

        Raises StoreUnavailable and Overloaded.
        """
        now = self._clock()
        if self._recorded_at is not None and 0 <= now - self._recorded_at < RECORD_INTERVAL_SECONDS:
            return
        lifetime = ttl_seconds + RECORD_INTERVAL_SECONDS + _MARGIN_SECONDS
        await self._script(self._keys, [int(now), self._current, lifetime])
        self._recorded_at = now

    def _compare(self, in_use: Sequence[bytes]) -> None:
        if all(fingerprint.decode(errors="replace") in self._known for fingerprint in in_use):
            return
        if self._log_limit.allows("secret"):
            _logger.error("the routes of users are answered 503: %s", ADVICE)
        raise UnknownUserSecret(ADVICE)
