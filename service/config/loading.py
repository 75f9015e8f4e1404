"""Reading the settings: `config.yaml`, then the environment over it. All errors are found before any is told.

The environment names a setting by its sections joined by two underscores, `JAY_SERVER__PORT`; the same name
with `_FILE` names a file that holds the value. An empty variable counts as unset.
"""

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_origin

from service.config.api_key_entries import parse_api_keys
from service.config.cross_field import cross_field_errors, unusable_files
from service.config.environment import COMPOSE_VARIABLES, PREFIX, REDIS_PASSWORD_VARIABLE, own_variables
from service.config.settings import Settings
from service.config.text_file import UnreadableText, read_secret
from service.config.values import as_utf8, convert, number_in, shown
from service.config.yaml_file import read_yaml
from service.errors import ConfigError

DEFAULT_FILE = Path("config.yaml")
CONFIG_VARIABLE = "JAY_CONFIG"
URL_VARIABLE, KEY_VARIABLE = "JAY_URL", "JAY_KEY"  # of the command line, as a client of the service
_NO_SETTINGS = {CONFIG_VARIABLE, URL_VARIABLE, KEY_VARIABLE, *COMPOSE_VARIABLES}
_FILE_SUFFIX = "_FILE"
# The example of an entry, for the error of a list that is not JSON.
_LIST_ITEMS = {
    "api_keys": '{"name": …, "sha256": …, "scopes": […]}',
    "cors.origins": '"https://www.example.com"',
    "cors.request_headers": '"x-client-version"',
    "session.previous_user_secrets": '"the secret before", "the one before that"',
}
# Kubernetes sets such variables for each service; one may be called `jay-tracking`.
_OF_KUBERNETES = re.compile(r"_SERVICE_HOST=|_SERVICE_PORT(_\w+)?=|_PORT(_\w+)?=(tcp|udp|sctp)://|_PORT_\d+_\w+=")


@dataclass(frozen=True)
class LoadedConfig:
    """The settings in force, and for each dotted name where its value came from."""

    settings: Settings
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Option:
    """One setting as declared: `name` is dotted, `kind` its type."""

    name: str
    kind: Any
    field: dataclasses.Field[Any]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace(".", "__")


@dataclass
class _Draft:
    """What has been found so far: values by dotted name, where from, and every error."""

    values: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def options(section: type = Settings, prefix: str = "") -> Iterator[Option]:
    """Yield every setting that there is, in the order of `settings.py`."""
    kinds = typing.get_type_hints(section)
    for declared in dataclasses.fields(section):
        kind = kinds[declared.name]
        if dataclasses.is_dataclass(kind):
            yield from options(typing.cast("type", kind), f"{prefix}{declared.name}.")
        else:
            yield Option(prefix + declared.name, kind, declared)


def load(environ: Mapping[str, str], file: Path | None = None, *, reads_tls_files: bool = True) -> LoadedConfig:
    """Read the settings.

    `file` wins over `JAY_CONFIG`, which wins over `config.yaml` in the working directory; only the last may
    be missing. `reads_tls_files` checks the certificate and the key too, which only the service needs.
    Raises ConfigError with every error there is.
    """
    environ = own_variables(environ)
    named = file or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    draft = _Draft()
    known = {option.name: option for option in options()}
    _read_file(named or DEFAULT_FILE, known, draft, required=named is not None)
    _read_environment(environ, known, draft)
    if not draft.errors:  # with errors, the rest would be checked against defaults
        settings: Settings = _build(Settings, draft)
        draft.errors += cross_field_errors(settings, environ.get(REDIS_PASSWORD_VARIABLE))
        draft.errors += unusable_files(settings.server.tls) if reads_tls_files else ()
    if draft.errors:
        raise ConfigError(draft.errors)
    provenance = {name: draft.provenance.get(name, "default") for name in known}
    return LoadedConfig(settings, provenance)


def _read_file(path: Path, known: Mapping[str, Option], draft: _Draft, *, required: bool) -> None:
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        if required:
            draft.errors.append(f"{path}: there is no such file; name one with --config or {CONFIG_VARIABLE}")
    except ConfigError as error:
        draft.errors += error.errors
    else:
        _read_mapping(content or {}, "", known, draft, str(path))


def _read_mapping(content: object, prefix: str, known: Mapping[str, Option], draft: _Draft, origin: str) -> None:
    if not isinstance(content, dict):
        draft.errors.append(f"{origin}: {prefix.rstrip('.') or 'the file'} must be a mapping of names to values")
        return
    for key, value in content.items():
        name = f"{prefix}{key}"
        if name in known:
            _accept(known[name], value, draft, origin)
        elif any(option.startswith(f"{name}.") for option in known):
            if value is not None:  # a section of which every line is a comment
                _read_mapping(value, f"{name}.", known, draft, origin)
        else:
            sections = {option.rpartition(".")[0] for option in known} - {""}
            draft.errors.append(f"{origin}: {name} is not a setting{_nearest(name, {*known, *sections})}")


def _read_environment(environ: Mapping[str, str], known: Mapping[str, Option], draft: _Draft) -> None:
    variables = {option.variable: option for option in known.values()}
    for variable, text in environ.items():
        if variable in _NO_SETTINGS:
            continue
        option = variables.get(variable)
        if option is not None:
            _accept_text(option, text, draft, variable)
        elif option := variables.get(variable.removesuffix(_FILE_SUFFIX)):
            if environ.get(option.variable):
                draft.errors.append(f"{variable}: {option.variable} is set too; unset one of the two")
                continue
            try:
                _accept_text(option, read_secret(Path(text)), draft, variable)
            except UnreadableText as error:
                draft.errors.append(f"{variable}: the file it names {error}")
        elif not _OF_KUBERNETES.search(f"{variable}={text}"):
            draft.errors.append(f"{variable}: is not a setting{_nearest(variable, {*variables, *COMPOSE_VARIABLES})}")


def _nearest(name: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "; `jay-tracking check-config` lists all that there are"


def _accept_text(option: Option, text: str, draft: _Draft, origin: str) -> None:
    """Take a value from the environment, where everything is text: lists are JSON."""
    text = as_utf8(text).removeprefix("\ufeff")
    value: object = text
    if option.kind is bool:
        value = {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)
    elif option.kind in (int, float):
        value = number_in(text, option.kind)
    elif get_origin(option.kind) is tuple:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            item = _LIST_ITEMS.get(option.name, '"…"')
            draft.errors.append(f"{origin}: must be a JSON list, such as [{item}]")
            return
    _accept(option, value, draft, origin)


def _accept(option: Option, value: object, draft: _Draft, origin: str) -> None:
    where = origin if origin == option.variable else f"{origin}: {option.name}"
    if option.name == "api_keys":
        keys, errors = parse_api_keys(value)
        draft.errors += [f"{where}{error}" for error in errors]
        converted: object = keys
    else:
        try:
            converted = convert(value, option.kind)
        except ValueError as expected:
            given = "" if option.field.metadata["secret"] or value in (None, "") else f", not {shown(value)}"
            draft.errors.append(f"{where} must be {expected}{given}")
            return
        check = option.field.metadata["check"]
        if check and (error := check(converted)):
            given = f", not {shown(converted)}" if isinstance(converted, int | float) else ""
            draft.errors.append(f"{where} {error}{given}")
            return
    draft.values[option.name] = converted
    draft.provenance[option.name] = origin


def _build(section: type, draft: _Draft, prefix: str = "") -> Any:
    """Return the section's dataclass, with defaults for what was not read."""
    kinds = typing.get_type_hints(section)
    values: dict[str, Any] = {}
    for declared in dataclasses.fields(section):
        name, kind = prefix + declared.name, kinds[declared.name]
        if dataclasses.is_dataclass(kind):
            values[declared.name] = _build(typing.cast("type", kind), draft, f"{name}.")
        elif name in draft.values:
            values[declared.name] = draft.values[name]
    return section(**values)
