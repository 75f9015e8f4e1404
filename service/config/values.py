"""Single values of the configuration, converted to the types that settings have.

A value comes from YAML or, as a string, from an environment variable.
"""

import os
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

# The only forms of numbers, in files and in variables: no octal, no underscores, no
# sexagesimal.
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_MAX_DIGITS = 80  # of a number, and of a value in a message


def as_utf8(string: str) -> str:
    """Decode a variable as UTF-8, so that a secret is the same in every locale."""
    try:
        return os.fsencode(string).decode()
    except UnicodeError:
        return string


def parse_number(string: str, kind: type[int] | type[float]) -> int | float | str:
    """Return the number in a string, or the string itself if it is not a number."""
    form = INTEGER if kind is int else NUMBER
    return kind(string) if form.fullmatch(string) and len(string) <= _MAX_DIGITS else string


def shown(value: object) -> str:
    """Return a value for a message, at most 80 characters long.

    Lists and mappings are not shown. One in YAML may contain itself many times.
    """
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, bool):
        return "true" if value else "false"  # as YAML writes it
    if isinstance(value, int) and value.bit_length() > _MAX_DIGITS:
        return "one with so many digits"
    string = repr(value)
    return string if len(string) <= _MAX_DIGITS else f"{string[:_MAX_DIGITS]}…"


def convert(value: object, kind: Any) -> object:
    """Return `value` as the type `kind`.

    Raises ValueError, whose message says what was expected.
    """
    if isinstance(value, str):
        _check_encodable(value)
    origin = get_origin(kind)
    if origin is types.UnionType:
        return None if value in (None, "") else convert(value, get_args(kind)[0])
    if origin is Literal:
        return _choice(value, get_args(kind))
    if origin is tuple:
        return _strings(value)
    return _CONVERTERS[kind](value)


def _check_encodable(value: str) -> None:
    """Raise ValueError for bytes that are not UTF-8 and for lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("a string in UTF-8") from None


def _choice(value: object, choices: Sequence[str]) -> object:
    # YAML reads an unquoted `None` as a string, but `null` and an empty value as None.
    if value in choices:
        return value
    raise ValueError("one of " + ", ".join(choices) + (" and not empty" if value is None else ""))


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_entry(number, item) for number, item in enumerate(value, 1))
    raise ValueError("a list of strings")


def _entry(number: int, item: object) -> str:
    if isinstance(item, str):
        return item
    raise ValueError(f"a list of strings. Write entry {number} as {string_expected_for(item)}")


def string_expected_for(value: object) -> str:
    """Return the description of a string for the error about another value.

    YAML reads `123`, `1.0` and `no` as strings only in quotes.
    """
    return "a string in quotes" if isinstance(value, int | float) else "a string"


def _string(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise _unexpected(value, string_expected_for(value))


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _unexpected(value, "a whole number")


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _unexpected(value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a smaller number") from None


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _unexpected(value, "true or false")


def _path(value: object) -> Path:
    if not isinstance(value, str) or not value:
        raise _unexpected(value, string_expected_for(value))
    if not value.isascii() and sys.getfilesystemencoding() != "utf-8":
        raise ValueError("a path in ASCII, as the locale is not UTF-8 (LC_ALL=C.UTF-8 allows other paths)")
    if "\0" in value or not value.strip():
        raise ValueError("a path that has no null bytes and is not blank")
    return Path(value)


def _unexpected(value: object, expected: str) -> ValueError:
    return ValueError(f"{expected} and not empty" if value in (None, "") else expected)


_CONVERTERS: Mapping[type, Callable[[object], object]] = {
    str: _string,
    int: _integer,
    float: _number,
    bool: _boolean,
    Path: _path,
}
