"""Detects a changed `session.user_secret` by fingerprints in Redis.

A user's sessions are found under a keyed hash of the user id. With another secret,
sessions from before the change would not be found, and an erasure would succeed without
ending them. So Redis keeps a fingerprint of each secret under which sessions may live.

When Redis loses its data, the fingerprint is lost too. So a worker records it again on
each new connection, before the first creation on this connection (`self_test.py`).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from service.counts import HOUR
from service.digests import UserDigest
from service.errors import Overloaded, StoreUnavailable, UnknownUserSecret
from service.storage.connection import RedisConnection
from service.storage.keyspace import SECRETS_SHARD, Keyspace
from service.storage.self_test_steps import SelfTestStep
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

_RECORD_INTERVAL_SECONDS = HOUR
# The clocks of the machines may differ by this.
_MARGIN_SECONDS = HOUR

_ADVICE = (
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
        self._connection = connection
        self._recorded_at: int | None = None
        self._expires_at = 0
        self._log_limit = LogLimit()
        self._read = connection.script("secrets")
        self._write = connection.script("secrets", is_write=True)

    async def check(self) -> None:
        """Raise UnknownUserSecret while sessions may live under an unknown secret.

        Raises StoreUnavailable and Overloaded too.
        """
        self._compare(await self._read(self._keys, [int(self._clock())]))

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
        now = int(self._clock())
        if self._recorded_at is not None and 0 <= now - self._recorded_at < _RECORD_INTERVAL_SECONDS:
            return
        lifetime = ttl_seconds + _RECORD_INTERVAL_SECONDS + _MARGIN_SECONDS
        await self._write(self._keys, (now, self._current, lifetime))
        self._recorded_at, self._expires_at = now, now + lifetime

    def steps(self, shards: Sequence[int]) -> Iterator[SelfTestStep]:
        """Yield the step that records again what this worker has recorded last.

        It changes nothing where Redis has the fingerprint. `shards` are the shards of
        the new connection's server.
        """
        now = int(self._clock())
        if SECRETS_SHARD in shards and now < self._expires_at:
            arguments = (now, self._current, self._expires_at - now)
            yield SelfTestStep(
                "recording a secret", self._connection.script_command("secrets", self._keys, arguments)
            )

    def _compare(self, in_use: Sequence[bytes]) -> None:
        if all(fingerprint.decode(errors="replace") in self._known for fingerprint in in_use):
            return
        if self._log_limit.allows("secret"):
            _logger.error("the routes of users are answered 503: %s", _ADVICE)
        raise UnknownUserSecret(_ADVICE)
