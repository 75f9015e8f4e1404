"""Times as the API writes them."""

from datetime import UTC, datetime


def rfc3339(moment: float) -> str:
    """Return a time in seconds since the epoch as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
