"""Reads the settings from `config.yaml`, and overrides them by the environment.

Reading continues after an error, so that one run reports every error. The environment
names a setting by its sections joined by two underscores, such as `JAY_SERVER__PORT`.
The same name with `_FILE` names a file that holds the value. An empty variable counts
as unset.
"""

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from service.config.cross_field import cross_field_errors, unusable_files
from service.config.environment import COMPOSE_VARIABLES, PREFIX, REDIS_PASSWORD_VARIABLE, own_variables
from service.config.setting_list import Setting, all_settings
from service.config.settings import Settings
from service.config.text_file import UnreadableText, read_secret
from service.config.values import as_utf8, parse_number
from service.config.yaml_file import read_yaml
from service.errors import ConfigError

DEFAULT_FILE = Path("config.yaml")
CONFIG_VARIABLE = "JAY_CONFIG"
# Commands that call the service read these.
URL_VARIABLE, KEY_VARIABLE, OPERATOR_KEY_VARIABLE = "JAY_URL", "JAY_KEY", "JAY_OPERATOR_KEY"
_NOT_SETTINGS = {CONFIG_VARIABLE, URL_VARIABLE, KEY_VARIABLE, OPERATOR_KEY_VARIABLE, *COMPOSE_VARIABLES}
_FILE_SUFFIX = "_FILE"
# Kubernetes sets such variables for each service, and one may be named `jay-tracking`.
_KUBERNETES_VARIABLE = re.compile(
    r"_SERVICE_HOST=|_SERVICE_PORT(_\w+)?=|_PORT(_\w+)?=(tcp|udp|sctp)://|_PORT_\d+_\w+="
)


@dataclass(frozen=True)
class LoadedConfig:
    """The settings in force, and for each dotted name where its value came from."""

    settings: Settings
    provenance: Mapping[str, str]


def load(environ: Mapping[str, str], file: Path | None = None, *, reads_tls_files: bool = True) -> LoadedConfig:
    """Read the settings.

    `file` has precedence over `JAY_CONFIG`, which has precedence over `config.yaml` in
    the working directory. Only the last may be missing. `reads_tls_files` checks the
    certificate and the key as well, which only the service needs. Raises ConfigError
    with every error.
    """
    environ = own_variables(environ)
    named = file or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    reader = _Reader()
    reader.read_file(named or DEFAULT_FILE, required=named is not None)
    reader.read_environment(environ)
    errors = reader.errors
    if not errors:
        # An invalid value would be replaced by its default, and cause errors that are
        # not real.
        settings: Settings = _build(Settings, reader.values)
        errors += cross_field_errors(settings, environ.get(REDIS_PASSWORD_VARIABLE))
        errors += unusable_files(settings.server.tls) if reads_tls_files else ()
    if errors:
        raise ConfigError(errors)
    return LoadedConfig(settings, reader.provenance)


class _Reader:
    """Collects values and their provenance by dotted name, and all errors."""

    def __init__(self) -> None:
        self._known = {setting.name: setting for setting in all_settings()}
        self.values: dict[str, Any] = {}
        self.provenance = dict.fromkeys(self._known, "default")
        self.errors: list[str] = []

    def read_file(self, path: Path, *, required: bool) -> None:
        """Read a YAML file. One that is not required may be missing."""
        try:
            content = read_yaml(path)
        except FileNotFoundError:
            if required:
                self.errors.append(f"{path}: there is no such file. Name one with --config or {CONFIG_VARIABLE}")
        except ConfigError as error:
            self.errors += error.errors
        else:
            self._read_mapping(content or {}, "", str(path))

    def _read_mapping(self, content: object, prefix: str, provenance: str) -> None:
        if not isinstance(content, dict):
            section = prefix.rstrip(".") or "the file"
            self.errors.append(f"{provenance}: {section} must be a mapping of names to values")
            return
        for key, value in content.items():
            name = f"{prefix}{key}"
            if name in self.values:  # `server.port` and `port` below `server`
                self.errors.append(f"{provenance}: {name} is set twice. Remove one")
            elif name in self._known:
                self._accept(self._known[name], value, provenance)
            elif any(setting.startswith(f"{name}.") for setting in self._known):
                if value is not None:  # a section whose lines are all comments
                    self._read_mapping(value, f"{name}.", provenance)
            else:
                sections = {setting.rpartition(".")[0] for setting in self._known} - {""}
                hint = _nearest(name, {*self._known, *sections})
                self.errors.append(f"{provenance}: {name} is not a setting{hint}")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Read the variables of settings, which override the file."""
        variables = {setting.variable: setting for setting in self._known.values()}
        for variable, string in environ.items():
            if variable in _NOT_SETTINGS:
                continue
            setting = variables.get(variable)
            if setting is not None:
                self._accept_string(setting, string, variable)
            elif setting := variables.get(variable.removesuffix(_FILE_SUFFIX)):
                if environ.get(setting.variable):
                    self.errors.append(f"{variable}: {setting.variable} is set as well. Unset one of the two")
                    continue
                try:
                    self._accept_string(setting, read_secret(Path(string)), variable)
                except UnreadableText as error:
                    self.errors.append(f"{variable}: the file it names {error}")
            elif not _KUBERNETES_VARIABLE.search(f"{variable}={string}"):
                hint = _nearest(variable, {*variables, *COMPOSE_VARIABLES})
                self.errors.append(f"{variable} is not a setting{hint}")

    def _accept_string(self, setting: Setting, string: str, provenance: str) -> None:
        """Read a value from the environment: always a string, and JSON for lists."""
        string = as_utf8(string).removeprefix("\ufeff")
        value: object = string
        if setting.kind is bool:
            value = {"true": True, "false": False, "1": True, "0": False}.get(string.lower(), string)
        elif setting.kind in (int, float):
            value = parse_number(string, setting.kind)
        elif get_origin(setting.kind) is tuple:
            subject = _subject(setting, provenance)
            try:
                value = json.loads(string, object_pairs_hook=_object_of)
            except _SameName:
                self.errors.append(f"{subject} has the same name twice. Remove one")
                return
            except (ValueError, RecursionError):
                self.errors.append(f"{subject} must be a JSON list, such as [{setting.declaration.example}]")
                return
        self._accept(setting, value, provenance)

    def _accept(self, setting: Setting, value: object, provenance: str) -> None:
        converted, errors = setting.read(value)
        self.errors += [f"{_subject(setting, provenance)}{error}" for error in errors]
        self.values[setting.name] = converted
        self.provenance[setting.name] = provenance


def _nearest(name: str, known: Collection[str]) -> str:
    """Return the end of the sentence about an unknown setting or variable.

    A name that only lacks its section is a better match than a similar spelling.
    """
    last = name.removeprefix(PREFIX)
    close = [one for one in known if one.endswith((f".{last}", f"__{last}"))]
    if len(close) != 1:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f". Did you mean {close[0]}?" if close else ". `jay-tracking check-config` lists all settings"


class _SameName(Exception):
    """A JSON object has two fields with one name. Parsers would take the last."""


def _object_of(fields: Sequence[tuple[str, object]]) -> dict[str, object]:
    content = dict(fields)
    if len(content) < len(fields):
        raise _SameName
    return content


def _subject(setting: Setting, provenance: str) -> str:
    """Return the start of an error's sentence: the variable, or file and name."""
    return provenance if provenance == setting.variable else f"{provenance}: {setting.name}"


def _build(section: type, read: Mapping[str, Any], prefix: str = "") -> Any:
    """Return the section's dataclass.

    Settings that were not read have their defaults.
    """
    kinds = typing.get_type_hints(section)
    values: dict[str, Any] = {}
    for declared in dataclasses.fields(section):
        name, kind = prefix + declared.name, kinds[declared.name]
        if dataclasses.is_dataclass(kind):
            values[declared.name] = _build(typing.cast("type", kind), read, f"{name}.")
        elif name in read:
            values[declared.name] = read[name]
    return section(**values)
