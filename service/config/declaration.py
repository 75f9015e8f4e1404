"""The declaration of one setting.

`settings.py`, `privacy_settings.py` and `telemetry_settings.py` have the declarations
themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from typing import Any, TypeAlias

from service.config.value_checks import Check

Parse: TypeAlias = Callable[[object], tuple[object, list[str]]]

_DECLARATION = "declaration"  # in the metadata of a field


@dataclass(frozen=True)
class Declaration:
    """The declaration of a setting, apart from its name, type and default.

    `check` returns what the converted value must be, or None when the value is valid.
    `parse` replaces conversion and check. It returns the value and all errors, each as
    the end of a sentence about the setting. `show` returns the value for people and
    logs. Without `show`, the value of a secret is never shown. `example` has entries of
    a list in JSON, for the error about a variable that is not a list. `schema` adds
    keywords of JSON Schema to those of the type and the check.
    """

    help: str
    check: Check | None
    parse: Parse | None
    show: Callable[[Any], str] | None
    is_secret: bool
    example: str | None
    schema: Mapping[str, object]


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
    """Declare a setting. `Declaration` describes the parameters."""
    declaration = Declaration(help_text, check, parse, show, secret, example, schema or {})
    return field(default=default, metadata={_DECLARATION: declaration})


def declaration_of(declared: Field[Any]) -> Declaration:
    """Return the declaration of a field that `setting` made."""
    found: Declaration = declared.metadata[_DECLARATION]
    return found
