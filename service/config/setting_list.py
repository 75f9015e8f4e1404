"""The settings as a flat list, each with dotted name, type and declaration."""

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.config.declaration import Declaration, declaration_of
from service.config.environment import PREFIX
from service.config.settings import Settings
from service.config.values import convert, shown

_EMPTY = (None, ())


def as_string(value: object) -> str:
    """Return a value for people: `-` for an empty value, `[]` for an empty list."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "[]"
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Setting:
    """One setting.

    `name` is dotted, and `kind` is its type.
    """

    name: str
    kind: Any
    declaration: Declaration

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace(".", "__")

    def read(self, value: object) -> tuple[object, list[str]]:
        """Return the converted value and all errors, each as the end of a sentence.

        The value is valid only when there are no errors.
        """
        declaration = self.declaration
        if declaration.parse:
            return declaration.parse(value)
        try:
            converted = convert(value, self.kind)
        except ValueError as expected:
            names_entry = typing.get_origin(self.kind) is tuple and isinstance(value, list)
            hides = declaration.is_secret or value in (None, "") or names_entry
            return None, [f" must be {expected}" + ("" if hides else f", not {shown(value)}")]
        if declaration.check and (error := declaration.check(converted)):
            given = f", not {shown(converted)}" if isinstance(converted, int | float) else ""
            return None, [f" {error}{given}"]
        return converted, []

    def value_in(self, settings: Settings) -> Any:
        """Return the setting's value."""
        value: object = settings
        for part in self.name.split("."):
            value = getattr(value, part)
        return value

    def show(self, value: Any) -> str:
        """Return a value for people and logs, without secrets.

        An empty value is `-`, and an empty list is `[]`, also of secrets.
        """
        if self.declaration.show:
            return self.declaration.show(value)
        if self.declaration.is_secret and value not in _EMPTY:
            return "(secret)"
        return as_string(value)


def all_settings(section: type = Settings, prefix: str = "") -> Iterator[Setting]:
    """Yield every setting, in the order of `Settings`."""
    kinds = typing.get_type_hints(section)
    for declared in dataclasses.fields(section):
        kind = kinds[declared.name]
        if dataclasses.is_dataclass(kind):
            yield from all_settings(typing.cast("type", kind), f"{prefix}{declared.name}.")
        else:
            yield Setting(prefix + declared.name, kind, declaration_of(declared))
