"""What argparse calls for arguments that are more than a text: the value, or what it must be."""

import re
from argparse import ArgumentTypeError

from service.config.value_checks import check_key_name
from service.config.values import as_utf8
from service.config.web_origins import check_origin

_DEMO_SESSIONS = range(1000, 1_000_001)


def seconds(text: str) -> float:
    """Return a number of seconds, at least 1."""
    if not re.fullmatch(r"\d{1,4}(\.\d+)?", text) or float(text) < 1:
        raise ArgumentTypeError("must be a number of seconds, at least 1")
    return float(text)


def demo_size(text: str) -> int:
    """Return how many sessions a demo has."""
    if not re.fullmatch(r"\d{1,7}", text) or int(text) not in _DEMO_SESSIONS:
        raise ArgumentTypeError("must be a whole number from 1000 to 1000000")
    return int(text)


def origin(text: str) -> str:
    """Return a web origin as browsers send it."""
    if error := check_origin(text):
        raise ArgumentTypeError(error)
    return text


def key_name(text: str) -> str:
    """Return the name of an API key."""
    if error := check_key_name(text):
        raise ArgumentTypeError(error)
    return text


def utf8(text: str) -> str:
    """Return an argument as UTF-8, which the service takes it for, whatever the locale."""
    return as_utf8(text)
