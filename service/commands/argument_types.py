"""Converters for argparse.

Each returns the value, or raises an error that says what the argument must be.
"""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable

from service.commands.time_range import check_time
from service.config.value_checks import check_key_name
from service.config.values import as_utf8
from service.config.web_origins import check_origin
from service.sessions import parse_session_id
from service.time_zones import TimeZone

_MAX_SECONDS = 9999


def seconds(argument: str) -> float:
    """Return a number of seconds within the limits."""
    if not re.fullmatch(r"\d{1,4}(\.\d+)?", argument, re.ASCII) or not 1 <= float(argument) <= _MAX_SECONDS:
        raise ArgumentTypeError(f"must be a number of seconds from 1 to {_MAX_SECONDS}")
    return float(argument)


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a converter to a whole number within limits."""

    def convert(argument: str) -> int:
        if not re.fullmatch(r"\d{1,9}", argument, re.ASCII) or not least <= int(argument) <= most:
            raise ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(argument)

    return convert


def origin(argument: str) -> str:
    """Return a web origin as browsers send it."""
    if error := check_origin(argument):
        raise ArgumentTypeError(error)
    return argument


def key_name(argument: str) -> str:
    """Return the name of an API key."""
    if error := check_key_name(argument):
        raise ArgumentTypeError(error)
    return argument


def session_id(argument: str) -> str:
    """Return a session id in lower case."""
    if (parsed := parse_session_id(argument)) is None:
        raise ArgumentTypeError("must be a session id: a UUID such as 550e8400-e29b-41d4-a716-446655440000")
    return parsed


def time(argument: str) -> str:
    """Return a time, a date or an age."""
    if error := check_time(argument):
        raise ArgumentTypeError(error)
    return argument


def time_zone(argument: str) -> TimeZone:
    """Return a time zone by its name."""
    if zone := TimeZone.find(argument):
        return zone
    raise ArgumentTypeError("must be the name of a time zone, such as Europe/Berlin")


def utf8(argument: str) -> str:
    """Return an argument as UTF-8 in every locale, as the service reads it."""
    return as_utf8(argument)
