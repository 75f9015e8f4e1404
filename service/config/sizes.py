"""Sizes of memory as Redis writes them, such as `512mb`."""

import re

HALF = "half"  # of the memory that the container or machine allows

SIZE_PATTERN = "([1-9][0-9]{0,15})([bB]|[kKmMgG][bB]?)?"
_SIZE = re.compile(SIZE_PATTERN)
# As in redis.conf: kb is 1024 bytes, k is 1000.
_UNITS = {"b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
# Below 8 MB an empty server has hardly any room for sessions. No server has more than 4
# TB.
_MIN_BYTES, _MAX_BYTES = 8 * 1024**2, 4 * 1024**4


def parse_size(string: str) -> int | None:
    """Return a size in bytes, or None when the string is not one."""
    found = _SIZE.fullmatch(string)
    return None if found is None else int(found[1]) * _UNITS[(found[2] or "b").lower()]


def check_max_memory(value: str) -> str | None:
    """Check the memory limit of the embedded server."""
    size = parse_size(value)
    if value == HALF or (size is not None and _MIN_BYTES <= size <= _MAX_BYTES):
        return None
    return "must be `half` or a size from 8mb to 4096gb, such as 512mb or 2gb"
