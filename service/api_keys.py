"""API keys: what a key may do, and finding the one that a request presents.

Only SHA-256 digests are kept. A fast hash is right here: the keys are 256 random bits, which nobody guesses,
and not passwords.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from service.rate_limits import RateLimit

# Published with the service so that the examples run as they are; refused in production.
DEMO_TRACK_KEY = "your_api_key_here"
DEMO_OPERATOR_KEY = "demo-operator-key"


class Scope(StrEnum):
    """What a key may do. A `track` key stands in browser JavaScript, so it may do no more than a visitor."""

    TRACK = "track"
    VALIDATE = "validate"
    ANALYTICS = "analytics"
    PRIVACY = "privacy"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as configured.

    `sha256` is the hex digest of the raw key. `source` overrides the session source. `origins`, when given,
    are the only web origins whose pages may use the key. `create_limit` bounds the sessions that one client
    address creates. Several keys may share a `name`: that is a rotation.
    """

    name: str
    sha256: str
    scopes: frozenset[Scope]
    source: str | None = None
    origins: frozenset[str] | None = None
    create_limit: RateLimit | None = None

    def allows_origin(self, origin: str | None) -> bool:
        """Tell whether a request with this `Origin` header may use the key; no header means no browser page."""
        return origin is None or self.origins is None or origin in self.origins


_NOBODY = ApiKey("nobody", "0" * 64, frozenset())


class Keyring:
    """All keys of the service, found by what a client presents."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_sha256 = {key.sha256: key for key in keys}

    def find(self, raw_key: str) -> ApiKey | None:
        """Return the key, or None when it is unknown.

        Unknown and known keys take the same way: hash, look up by the hash, compare in constant time. The time
        of the look-up can reveal something only about a SHA-256, which a client cannot choose.
        """
        digest = hash_key(raw_key)
        key = self._by_sha256.get(digest, _NOBODY)
        return key if hmac.compare_digest(key.sha256, digest) else None


def hash_key(raw_key: str) -> str:
    """Return the hex SHA-256 of a raw key, as `config.yaml` holds it."""
    # A header's bytes beyond UTF-8 arrive as surrogates.
    return hashlib.sha256(raw_key.encode(errors="surrogateescape")).hexdigest()


def new_raw_key() -> str:
    """Return a fresh key: `jay_` and 256 random bits."""
    return f"jay_{secrets.token_urlsafe(32)}"


def demo_keys_in(keys: Iterable[ApiKey]) -> dict[str, ApiKey]:
    """Return the demo keys that are among `keys`, by their raw form."""
    known = {key.sha256: key for key in keys}
    digests = {raw: hash_key(raw) for raw in (DEMO_TRACK_KEY, DEMO_OPERATOR_KEY)}
    return {raw: known[digest] for raw, digest in digests.items() if digest in known}
