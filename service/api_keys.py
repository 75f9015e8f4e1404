"""API keys, their scopes, and the lookup of the key that a request presents.

Only SHA-256 digests are kept. A fast hash is safe here, because the keys are not
passwords: 256 random bits cannot be guessed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from service.rate_limits import RateLimit

# Published with the service, so that the examples run unchanged. Rejected in
# production.
DEMO_TRACK_KEY = "your_api_key_here"
DEMO_OPERATOR_KEY = "demo-operator-key"


class Scope(StrEnum):
    """A permission of a key.

    A `track` key is public, as it is in the JavaScript of pages.
    """

    TRACK = "track"
    VALIDATE = "validate"
    ANALYTICS = "analytics"
    PRIVACY = "privacy"


class Reveal(StrEnum):
    """A part of a session that forward-auth may pass on to the services of a proxy."""

    SESSION_ID = "session_id"
    USER_ID = "user_id"


class Gpc(StrEnum):
    """How a key treats Global Privacy Control, `Sec-GPC: 1`."""

    IGNORE = "ignore"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as configured.

    `sha256` is the hex digest of the raw key. `source` overrides the session source. If
    `origins` is set, only pages of these web origins may use the key. `create_limit`
    limits the sessions that one client address creates. `reveal` lists the ids that
    forward-auth adds to the ref. With `gpc` GUEST, a request with `Sec-GPC: 1` creates
    a guest's session. In a rotation, the old and the new key have the same `name`.
    """

    name: str
    sha256: str
    scopes: frozenset[Scope]
    source: str | None = None
    origins: frozenset[str] | None = None
    create_limit: RateLimit | None = None
    reveal: frozenset[Reveal] = frozenset()
    gpc: Gpc = Gpc.IGNORE

    def allows_origin(self, origin: str | None) -> bool:
        """Return whether a request with this `Origin` may use the key.

        Only web pages send this header.
        """
        return origin is None or self.origins is None or origin in self.origins


_NO_KEY = ApiKey("none", "0" * 64, frozenset())


class Keyring:
    """All API keys of the service."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_sha256 = {key.sha256: key for key in keys}

    @property
    def keys(self) -> Collection[ApiKey]:
        """All keys."""
        return self._by_sha256.values()

    def find(self, raw_key: str) -> ApiKey | None:
        """Return the key, or None if it is unknown.

        The steps are the same for known and unknown keys: hash, look up the hash,
        compare in constant time. The time of the lookup depends only on the hash, which
        a client cannot choose. A request without a key is unknown, even if the
        configuration has the hash of an empty string.
        """
        if not raw_key:
            return None
        digest = hash_key(raw_key)
        key = self._by_sha256.get(digest, _NO_KEY)
        return key if hmac.compare_digest(key.sha256, digest) else None


def hash_key(raw_key: str) -> str:
    """Return the hex SHA-256 of a raw key, as it is in `config.yaml`."""
    # aiohttp decodes bytes of a header that are not UTF-8 as surrogates.
    return hashlib.sha256(raw_key.encode(errors="surrogateescape")).hexdigest()


def new_raw_key() -> str:
    """Return a new key: `jay_` and 256 random bits."""
    return f"jay_{secrets.token_urlsafe(32)}"


def demo_keys_in(keys: Iterable[ApiKey]) -> dict[str, ApiKey]:
    """Return the demo keys in `keys`, by raw key."""
    known = {key.sha256: key for key in keys}
    digests = {raw: hash_key(raw) for raw in (DEMO_TRACK_KEY, DEMO_OPERATOR_KEY)}
    return {raw: known[digest] for raw, digest in digests.items() if digest in known}
