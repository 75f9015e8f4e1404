"""Reads header fields that a request sends in several lines.

Two lines of one name and one line with both values joined by a comma mean the same (RFC
9110 section 5.3). Code that reads only the first line would treat the two differently.
"""

from collections.abc import Iterator

from multidict import CIMultiDictProxy


def combined(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """Return the value of a header, or None if it is absent.

    A comma joins its lines.
    """
    lines = headers.getall(name, None)
    if lines is None:
        return None
    return lines[0] if len(lines) == 1 else ", ".join(lines)


def elements(value: str | None) -> Iterator[str]:
    """Yield the elements of a comma-separated value, stripped, without empty ones."""
    for element in (value or "").split(","):
        if stripped := element.strip(" \t"):
            yield stripped
