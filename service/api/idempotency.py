"""The `Idempotency-Key` of a creation.

A client that repeats a creation with the same key gets the same session.
"""

import re
from collections.abc import Sequence

from service import errors
from service.api import wire

# Visible ASCII. Without a comma, because a proxy may join two lines with one.
_KEY = re.compile("[!-+\\--~]{16,64}")


def idempotency_key(lines: Sequence[str]) -> str | None:
    """Return the key in the header's lines, or None without a line.

    Raises InvalidRequest.
    """
    if not lines:
        return None
    if len(lines) > 1 or not _KEY.fullmatch(lines[0]):
        detail = (
            "Idempotency-Key must be sent once, with 16 to 64 visible ASCII characters and no comma, such as a UUID."
        )
        raise errors.InvalidRequest(detail, member=str(wire.IDEMPOTENCY_KEY))
    return lines[0]
