"""Sizes of memory as Redis writes them, such as `512mb`."""

import re

HALF = "half"  # of the memory that the container or machine allows

_FORM = re.compile(r"([1-9][0-9]{0,15})(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
# As in redis.conf: with the b the unit is a power of 1024, without it a power of 1000.
_UNITS = {"b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
# Below 8 MB an empty server has hardly room for a session. 4 TB is more than one server can be given.
_LEAST_MEMORY, _MOST_MEMORY = 8 * 1024**2, 4 * 1024**4


def parse_size(text: str) -> int | None:
    """Return a size in bytes, or None when `text` is no size."""
    found = _FORM.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS[(found[2] or "b").lower()]


def check_max_memory(value: str) -> str | None:
    """Return a sentence about the value when no server can use it as the most memory that it may take."""
    size = parse_size(value)
    if value == HALF or (size is not None and _LEAST_MEMORY <= size <= _MOST_MEMORY):
        return None
    return "must be `half` or a size from 8mb to 4096gb, such as 512mb or 2gb"
