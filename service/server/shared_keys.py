"""The API keys in force, which the supervisor shares with its workers.

A worker that read the configuration itself could find a file that an editor or a volume
of Kubernetes has just removed or replaced. It would keep accepting a removed key,
although the supervisor has reported the new keys.
"""

import hashlib
import os
import pickle
from collections.abc import Sequence

from service.anonymous_file import AnonymousFile
from service.api_keys import ApiKey

_DIGEST_BYTES = hashlib.sha256().digest_size
_LENGTH_BYTES = 4


class SharedKeys:
    """A file without a name that the supervisor writes and its forks read."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._file = AnonymousFile("jay-keys")
        self.put(keys)

    def put(self, keys: Sequence[ApiKey]) -> None:
        """Replace the keys. Raises OSError."""
        data = pickle.dumps(tuple(keys))
        frame = len(data).to_bytes(_LENGTH_BYTES, "big") + hashlib.sha256(data).digest() + data
        os.pwrite(self._file.fileno(), frame, 0)

    def get(self) -> tuple[ApiKey, ...] | None:
        """Return the keys, or None while the supervisor replaces them."""
        length = int.from_bytes(os.pread(self._file.fileno(), _LENGTH_BYTES, 0), "big")
        frame = os.pread(self._file.fileno(), _DIGEST_BYTES + length, _LENGTH_BYTES)
        digest, data = frame[:_DIGEST_BYTES], frame[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return None
        keys: tuple[ApiKey, ...] = pickle.loads(data)  # noqa: S301 - only the supervisor writes the file
        return keys
