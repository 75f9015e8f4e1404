"""The `baggage` header that forward-auth returns for the proxy to pass on.

Source: W3C Baggage, section 3.3, for the grammar and the limits.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

MAX_BYTES = 8192
MAX_ENTRIES = 180
# Checking an entry takes 1 to 2 µs. A request may have 64 lines of 8 KiB, with half a
# million entries.
MAX_CHECKED = 1000

_NAME = b"session.id"
_SPACE = r"[ \t]*+"
_KEY = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_VALUE = r"[!#-+\--:<-\[\]-~]*+"
_ENTRY = re.compile(rf"({_KEY}){_SPACE}={_SPACE}{_VALUE}(?:{_SPACE};{_SPACE}{_KEY}(?:{_SPACE}={_SPACE}{_VALUE})?+)*+")
# Programs trim names after they decode them, by different rules. The name of the
# session has no other characters than these, so all others are ignored.
_NOT_VISIBLE = bytes(byte for byte in range(256) if not 0x21 <= byte <= 0x7E)  # noqa: PLR2004 - ASCII


def merged(lines: Iterable[str], ref: str | None) -> str:
    """Return the value of a header with the valid entries of all lines.

    No entry of the request can pass for `session.id`. With `ref`, the first entry of
    the result is `session.id=<ref>`. Entries that do not fit into the limits are left
    out, and so are all entries after the first 1,000.
    """
    entries, size = [], 0
    if ref is not None:
        entries.append(f"session.id={ref}")
        size = len(entries[0])
    left = MAX_CHECKED
    for line in lines:
        elements = line.split(",", left)[:left]
        left -= len(elements)
        for element in elements:
            entry = element.strip(" \t")
            longer = size + len(entry) + bool(entries)
            if longer > MAX_BYTES or len(entries) == MAX_ENTRIES:
                continue
            found = _ENTRY.fullmatch(entry)
            if found is not None and not _is_session_id(found[1]):
                entries.append(entry)
                size = longer
        if not left:
            break
    return ",".join(entries)


def _is_session_id(name: str) -> bool:
    """Return whether a program may read a name as `session.id`.

    Python's OpenTelemetry decodes a plus sign as a space, and some programs ignore the
    case.
    """
    if "%" not in name and "+" not in name:  # 1 µs faster
        return name.lower().encode() == _NAME
    return unquote_to_bytes(name.replace("+", " ")).translate(None, _NOT_VISIBLE).lower() == _NAME
