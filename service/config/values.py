"""Single values of the configuration, from plain YAML or from a variable, as the types that settings have."""

import os
import re
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

# As people write them, in files and in variables alike.
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_MAX_DIGITS = 80  # of a number, and of a value in a message


def as_utf8(text: str) -> str:
    """Return the text of a variable as UTF-8, whatever the locale: a secret must be the same for all processes."""
    try:
        return os.fsencode(text).decode()
    except UnicodeError:
        return text


def number_in(text: str, kind: type[int] | type[float]) -> int | float | str:
    """Return the number that a variable holds, or the text where it is none."""
    form = INTEGER if kind is int else NUMBER
    return kind(text) if form.fullmatch(text) and len(text) <= _MAX_DIGITS else text


def shown(value: object) -> str:
    """Return a value for a message, cut short. A list in YAML may hold itself many times over, so it is not shown."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, int) and value.bit_length() > _MAX_DIGITS:
        return "one with so many digits"
    text = repr(value)
    return text if len(text) <= _MAX_DIGITS else f"{text[:_MAX_DIGITS]}…"


def convert(value: object, kind: Any) -> object:
    """Return `value` as `kind`. Raises ValueError with what was expected."""
    if isinstance(value, str):
        _check_text(value)
    if get_origin(kind) is types.UnionType:
        return None if value in (None, "") else convert(value, get_args(kind)[0])
    if get_origin(kind) is Literal:
        return _choice(value, get_args(kind))
    if get_origin(kind) is tuple:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError("a list of texts")
    if kind is Path and isinstance(value, str) and value:
        return _path(value)
    if kind is float and type(value) in (int, float):
        return _number(typing.cast("float", value))
    if type(value) is kind and value != "":
        return value
    if kind is str and isinstance(value, int | float):
        raise ValueError("a text; put it in quotes")
    expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")
    raise ValueError(f"{expected} and not empty" if value in (None, "") else expected)


def _choice(value: object, choices: Sequence[str]) -> object:
    # YAML reads an unquoted `None` as a string, but `null` and an empty value as nothing.
    if value in choices:
        return value
    raise ValueError("one of " + ", ".join(choices) + (" and not empty" if value is None else ""))


def _check_text(value: str) -> None:
    """Raise ValueError for what cannot be encoded: bytes that are no UTF-8, and escapes of lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("text in UTF-8") from None


def _path(value: str) -> Path:
    if not value.isascii() and sys.getfilesystemencoding() != "utf-8":
        raise ValueError("a path in ASCII, because the locale is not UTF-8; set LC_ALL=C.UTF-8 for others")
    if "\0" in value or not value.strip():
        raise ValueError("a path, which has no null bytes and more than white space")
    return Path(value)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a number that is not as large") from None
