"""The `api_keys` list of the configuration, read into API keys. Repeats no value: it may be a pasted secret."""

import difflib
import re
from collections.abc import Mapping
from typing import cast

from service.api_keys import ApiKey, Scope
from service.config.settings import check_key_name, check_source
from service.config.value_checks import Check, each
from service.config.web_origins import check_origin
from service.rate_limits import MAX_COUNT, parse_rate_limit

_MEMBERS = ("name", "sha256", "scopes", "source", "origins", "create_limit")


def parse_api_keys(entries: object) -> tuple[tuple[ApiKey, ...], list[str]]:
    """Return the keys, and every error as the end of a sentence that begins with where the list stands."""
    if entries is None:
        return (), []
    if not isinstance(entries, list):
        return (), [" must be a list; `jay-tracking keys new` prints an entry"]
    keys: list[ApiKey] = []
    errors: list[str] = []
    for index, entry in enumerate(entries):
        found = list(_errors_in(entry))
        errors += [f"[{index}]{error}" for error in found]
        if not found:
            keys.append(_api_key(cast("Mapping[str, object]", entry)))
    digests = [key.sha256 for key in keys]
    if len(set(digests)) < len(digests):
        errors.append(": two entries have the same sha256; remove one, or make a new key for a rotation")
    return tuple(keys), errors


def _errors_in(entry: object) -> list[str]:
    if not isinstance(entry, dict):
        return [" must be a mapping with name, sha256 and scopes"]
    errors = []
    for member in entry:
        if member not in _MEMBERS:
            close = difflib.get_close_matches(str(member), _MEMBERS, n=1, cutoff=0.5)
            errors.append(f".{member} is not a member; " + (f"did you mean {close[0]}?" if close else "remove it"))
    if error := _error_in_text(entry.get("name"), check_key_name):
        errors.append(f".name {error}")
    if not isinstance(entry.get("sha256"), str) or not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]):
        errors.append(".sha256 must be the key's SHA-256 in 64 hex digits, never the key itself")
    scopes = entry.get("scopes")
    # Strings only: what else YAML can hold may refer to itself, and grow to gigabytes as text.
    if (
        not isinstance(scopes, list)
        or not scopes
        or not all(isinstance(one, str) and one in set(Scope) for one in scopes)
    ):
        errors.append(f".scopes must be a list of {', '.join(Scope)}")
    source = entry.get("source")
    if source is not None and (error := _error_in_text(source, check_source)):
        errors.append(f".source {error}")
    if error := _error_in_origins(entry.get("origins")):
        errors.append(f".origins {error}")
    if error := _error_in_create_limit(entry.get("create_limit")):
        errors.append(f".create_limit {error}")
    return errors


def _error_in_origins(origins: object) -> str | None:
    if origins is None:
        return None
    if not isinstance(origins, list) or not origins or not all(isinstance(origin, str) for origin in origins):
        return "must be a list of exact origins like https://www.example.com"
    return each(check_origin)(origins)


def _error_in_create_limit(limit: object) -> str | None:
    if limit is None or (isinstance(limit, str) and parse_rate_limit(limit)):
        return None
    return f"must be a count from 1 to {MAX_COUNT:,} per second, minute, hour or day, such as 60/minute"


def _error_in_text(value: object, check: Check) -> str | None:
    """Return what `check` says; what is no text at all is as wrong as an empty one."""
    return check(value if isinstance(value, str) else "")


def _api_key(entry: Mapping[str, object]) -> ApiKey:
    origins = cast("list[str] | None", entry.get("origins"))
    limit = cast("str | None", entry.get("create_limit"))
    return ApiKey(
        name=cast("str", entry["name"]),
        sha256=cast("str", entry["sha256"]),
        scopes=frozenset(Scope(scope) for scope in cast("list[str]", entry["scopes"])),
        source=cast("str | None", entry.get("source")),
        origins=None if origins is None else frozenset(origins),
        create_limit=None if limit is None else parse_rate_limit(limit),
    )
