"""The entries of `api_keys` in the configuration, parsed into API keys.

No error repeats a value. It may be a raw key that was pasted in place of its hash.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from service.api_keys import ApiKey, Gpc, Reveal, Scope, hash_key
from service.config.value_checks import Check, Each, check_key_name, check_source
from service.config.values import string_expected_for
from service.config.web_origins import check_origin
from service.rate_limits import MAX_COUNT, parse_rate_limit

_SHA256 = r"[0-9A-Fa-f]{64}"  # Get-FileHash of PowerShell writes upper case

# When the variable is empty, `printf "$KEY" | sha256sum` prints the first hash, and
# `echo "$KEY" | sha256sum` prints the second.
_OF_NOTHING = {hash_key(""), hash_key("\n")}

# For editors. Origins, the size of a limit and the hash of nothing are only checked by
# the functions below.
API_KEYS_SCHEMA: Mapping[str, object] = {
    "type": ["array", "null"],
    "items": {
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                **check_key_name.schema,
                "description": "name of the key in logs. In a rotation, the old and the new entry have the same name",
            },
            "sha256": {
                "type": "string",
                "pattern": f"^{_SHA256}$",
                "description": "SHA-256 of the key in 64 hex digits. `jay-tracking keys new` prints it",
            },
            "scopes": {
                "type": "array",
                "minItems": 1,
                "items": {"enum": [scope.value for scope in Scope]},
                "description": "scopes of the key",
            },
            "source": {
                "type": ["string", "null"],
                **check_source.schema,
                "description": "`source` of the sessions that the key creates",
            },
            "origins": {
                "type": ["array", "null"],
                "minItems": 1,
                "items": {"type": "string", "minLength": 1},
                "description": "the only web origins whose pages may use the key",
            },
            "create_limit": {
                "type": ["string", "null"],
                "pattern": "^[1-9][0-9]{0,6}/(second|minute|hour|day)$",
                "description": "sessions that one client address may create, such as 60/minute",
            },
            "reveal": {
                "type": ["array", "null"],
                "items": {"enum": [part.value for part in Reveal]},
                "description": "ids that forward-auth may pass on to the services behind the proxy, beside the ref",
            },
            "gpc": {
                "enum": [*Gpc, None],
                "description": "guest: a browser with Global Privacy Control gets a session without a user id",
            },
        },
        "required": ["name", "sha256", "scopes"],
        "additionalProperties": False,
    },
}


def parse_api_keys(entries: object) -> tuple[tuple[ApiKey, ...], list[str]]:
    """Return the valid keys and all errors.

    Each error continues a sentence that begins with the list's name.
    """
    if entries is None:
        return (), []
    if not isinstance(entries, list):
        return (), [" must be a list. `jay-tracking keys new` prints an entry"]
    keys: list[ApiKey] = []
    errors: list[str] = []
    for index, entry in enumerate(entries):
        entry_errors = _entry_errors(entry)
        errors += [f"[{index}]{error}" for error in entry_errors]
        if not entry_errors:
            keys.append(_api_key(cast("Mapping[str, object]", entry)))
    hashes = [key.sha256 for key in keys]
    if len(set(hashes)) < len(hashes):
        errors.append(": two entries have the same sha256. Remove one, or make a new key for a rotation")
    return tuple(keys), errors


def show_api_keys(keys: Sequence[ApiKey]) -> str:
    """Return names and scopes, for people and logs."""
    return ", ".join(f"{key.name} ({'+'.join(sorted(key.scopes))})" for key in keys) or "[] (no client has access)"


def _entry_errors(entry: object) -> list[str]:
    if not isinstance(entry, dict):
        return [" must be a mapping with name, sha256 and scopes"]
    errors = [_unknown_field_error(field) for field in entry if field not in _FIELDS]
    for field, (check, is_required) in _FIELDS.items():
        value = entry.get(field)
        if (is_required or value is not None) and (error := check(value)):
            errors.append(f".{field} {error}")
    return errors


def _unknown_field_error(field: object) -> str:
    close = difflib.get_close_matches(str(field), _FIELDS, n=1, cutoff=0.5)
    return f".{field} is not a field. " + (f"Did you mean {close[0]}?" if close else "Remove it")


def _string_check(check: Check) -> Callable[[object], str | None]:
    """Return a check of a field that must be a string."""

    def checked(value: object) -> str | None:
        if value is None or isinstance(value, str):
            return check(value or "")
        return f"must be {string_expected_for(value)}"

    return checked


def _check_sha256(value: object) -> str | None:
    if isinstance(value, str) and re.fullmatch(_SHA256, value):
        is_of_nothing = value.lower() in _OF_NOTHING
        return "is the hash of an empty string. Hash the key itself, without a line end" if is_of_nothing else None
    return "must be the key's SHA-256 in 64 hex digits, never the key itself"


def _check_scopes(scopes: object) -> str | None:
    # Only strings are compared. Other values of YAML may contain themselves and grow to
    # gigabytes as a string.
    if isinstance(scopes, list) and scopes and all(isinstance(one, str) and one in set(Scope) for one in scopes):
        return None
    return f"must be a list of {', '.join(Scope)}"


def _check_origins(origins: object) -> str | None:
    if not isinstance(origins, list) or not origins or not all(isinstance(origin, str) for origin in origins):
        return "must be a list of exact origins like https://www.example.com"
    return Each(check_origin)(origins)


def _check_create_limit(limit: object) -> str | None:
    if isinstance(limit, str) and parse_rate_limit(limit):
        return None
    return f"must be a count from 1 to {MAX_COUNT:,} per second, minute, hour or day, such as 60/minute"


def _check_reveal(reveal: object) -> str | None:
    # As in `_check_scopes`, only strings are compared.
    if isinstance(reveal, list) and all(isinstance(one, str) and one in set(Reveal) for one in reveal):
        return None
    return f"must be a list of {', '.join(Reveal)}"


def _check_gpc(gpc: object) -> str | None:
    is_known = isinstance(gpc, str) and gpc in set(Gpc)
    return None if is_known else f"must be {' or '.join(Gpc)}"


# The check of each field, and whether the field is required.
_FIELDS: Mapping[str, tuple[Callable[[object], str | None], bool]] = {
    "name": (_string_check(check_key_name), True),
    "sha256": (_check_sha256, True),
    "scopes": (_check_scopes, True),
    "source": (_string_check(check_source), False),
    "origins": (_check_origins, False),
    "create_limit": (_check_create_limit, False),
    "reveal": (_check_reveal, False),
    "gpc": (_check_gpc, False),
}


def _api_key(entry: Mapping[str, object]) -> ApiKey:
    origins = cast("list[str] | None", entry.get("origins"))
    limit = cast("str | None", entry.get("create_limit"))
    return ApiKey(
        name=cast("str", entry["name"]),
        sha256=cast("str", entry["sha256"]).lower(),
        scopes=frozenset(Scope(scope) for scope in cast("list[str]", entry["scopes"])),
        source=cast("str | None", entry.get("source")),
        origins=None if origins is None else frozenset(origins),
        create_limit=None if limit is None else parse_rate_limit(limit),
        reveal=frozenset(Reveal(part) for part in cast("list[str]", entry.get("reveal") or [])),
        gpc=Gpc(cast("str | None", entry.get("gpc")) or Gpc.IGNORE),
    )
