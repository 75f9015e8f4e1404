"""The declaration of one setting.

`settings.py`, `privacy_settings.py` and `telemetry_settings.py` have the declarations
themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, TypeAlias

from service.config.value_checks import Check

Parse: TypeAlias = Callable[[object], tuple[object, list[str]]]


def setting(
    default: Any,
    help_text: str,
    *,
    check: Check | None = None,
    parse: Parse | None = None,
    show: Callable[[Any], str] | None = None,
    secret: bool = False,
    example: str | None = None,
    schema: Mapping[str, object] | None = None,
) -> Any:
    """Declare a setting.

    `check` returns what the converted value must be, or None when the value is valid.
    `parse` replaces conversion and check. It returns the value and all errors, each as
    the end of a sentence about the setting. `show` returns the value for people and
    logs. Without `show`, the value of a `secret` is never shown. `example` has entries
    of a list in JSON, for the error about a variable that is not a list. `schema` adds
    keywords of JSON Schema to those of the type and the check.
    """
    metadata = {
        "help": help_text,
        "check": check,
        "parse": parse,
        "show": show,
        "secret": secret,
        "example": example,
        "schema": schema or {},
    }
    return field(default=default, metadata=metadata)
