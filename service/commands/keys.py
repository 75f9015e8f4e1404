"""`jay-tracking keys`: makes API keys."""

import json
import sys
from collections.abc import Collection

from service.api_keys import Scope, hash_key, new_raw_key

_HINT = (
    "Add origins and create_limit to the entry of a key in a web page: see docs/operations.md, "
    "Limit the creation of sessions"
)
# YAML reads these words as booleans or null. Most names that do not begin with a letter
# are numbers, dates, or the beginning of a list.
_YAML_WORDS = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}


def new(name: str, scopes: Collection[str]) -> None:
    """Print a new key and its entry for the configuration.

    A hint about a key that may be public goes to standard error.
    """
    raw_key = new_raw_key()
    entry = {"name": name, "sha256": hash_key(raw_key), "scopes": sorted(set(scopes))}
    is_plain = name[0].isalpha() and name.lower() not in _YAML_WORDS
    written = name if is_plain else json.dumps(name)
    print(f"The key, which is shown only once:\n\n  {raw_key}\n\nIts entry for api_keys in config.yaml:\n")
    print(f"  - name: {written}\n    sha256: {entry['sha256']}\n    scopes: [{', '.join(entry['scopes'])}]")
    print("\nOr as an environment variable, which replaces the whole list in config.yaml:\n")
    print(f"  JAY_API_KEYS='{json.dumps([entry])}'\n")
    print("To apply a change of config.yaml, send SIGHUP to the service. To apply a changed variable, restart it.")
    if Scope.TRACK in scopes:
        print(_HINT, file=sys.stderr)
