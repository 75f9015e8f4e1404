"""The parsers of settings and of values in Redis.

No error may repeat a secret, which a person may have put into the wrong place.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from service.api_keys import ApiKey
from service.config.api_key_entries import parse_api_keys
from service.config.loading import load
from service.config.redis_url import check_redis_url, without_password
from service.config.setting_list import all_settings
from service.config.sizes import check_max_memory
from service.config.value_checks import (
    Check,
    check_cookie_domain,
    check_host,
    check_key_name,
    check_network,
    check_otlp_endpoint,
    check_source,
)
from service.config.web_origins import check_origin
from service.errors import ConfigError
from service.rate_limits import parse_rate_limit
from service.storage import script_files
from service.storage.session_value import decode

CANARY = "hunter2canary"
SESSION_ID = "550e8400-e29b-41d4-a716-446655440000"
_CHECKS: tuple[Check, ...] = (
    *(check_host, check_network, check_otlp_endpoint, check_cookie_domain, check_source, check_key_name),
    *(check_origin, check_max_memory),
)
_VARIABLES = [setting.variable for setting in all_settings()]


def redis_url(data: bytes) -> None:
    """A URL is valid or has an error, and neither shows its password."""
    url = data.decode("utf-8", "replace")
    error = check_redis_url(url)
    assert error is None or CANARY not in error
    if error is None and url != "embedded":
        password, shown = urlsplit(url).password, without_password(url)
        assert password != CANARY or shown.count(CANARY) == url.count(CANARY) - 1
        assert shown.partition("?")[2] in {"", "***"}


def single_value(data: bytes) -> None:
    """The checks of strings return an error that can be printed, or none."""
    value = data.decode("utf-8", "replace")
    for check in _CHECKS:
        error = check(value)
        assert error is None or (error and isinstance(error, str)), value
    suggested = (check_origin(value) or "").partition("as browsers send it: ")[2]
    assert not suggested or check_origin(suggested) is None, (value, suggested)


def rate_limit(data: bytes) -> None:
    """A limit has a positive count and a positive time, or is rejected."""
    limit = parse_rate_limit(data.decode("utf-8", "replace"))
    assert limit is None or (limit.count > 0 and limit.seconds > 0)


def api_keys(data: bytes) -> None:
    """Entries of API keys are keys or errors, and no error repeats a value."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = data.decode("utf-8", "replace")
    keys, errors = parse_api_keys(content)
    assert all(isinstance(key, ApiKey) and len(key.sha256) == 64 for key in keys)
    assert all(CANARY not in error for error in errors)


def environment(data: bytes) -> None:
    """Variables give settings or a list of errors, and no error has a secret."""
    lines = data.decode("utf-8", "replace").replace("\0", "").splitlines()
    pairs = (line.partition("=")[::2] for line in lines)
    environ = {_VARIABLES[sum(name.encode()) % len(_VARIABLES)]: value for name, value in pairs}
    environ = {name: value for name, value in environ.items() if "tls" not in name.lower()}
    try:
        load({**environ, "JAY_SESSION__USER_SECRET": CANARY, "JAY_CONFIG": "/dev/null"})
    except ConfigError as error:
        assert error.errors
        assert all(CANARY not in one for one in error.errors)


def yaml_file(data: bytes, folder: Path) -> None:
    """A file gives settings or a list of errors."""
    file = folder / "config.yaml"
    file.write_bytes(data)
    try:
        load({}, file)
    except ConfigError as error:
        assert error.errors


class SessionValue:
    """Compares the reader of session values in Python with that of the scripts."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(url)
        shared = (Path(script_files.__file__).parent / "scripts" / "shard.lua").read_text("utf-8")
        constants = script_files._CONSTANTS
        shared = script_files._CONSTANT.sub(lambda found: script_files._literal(constants[found[0]]), shared)
        self._decode = self._client.register_script(shared + _RETURN_DECODED)
        logging.getLogger("service.storage.session_value").disabled = True

    def __call__(self, data: bytes) -> None:
        """Python and Lua find the same session, or none.

        Only the parser of Redis accepts control characters and invalid UTF-8, and only
        that of Python accepts the time -0. The service writes none of them.
        """
        session = decode(SESSION_ID, data)
        found = self._decode(args=[data])
        if session is None or found is None:
            assert session is None or _MINUS_ZERO.match(data), (data, session)
            assert found is None or not _is_plain(data), (data, found)
            return
        user_id, digest = session.user_id or "", session.user_digest or ""
        started = str(session.started_at // 1_000_000)
        assert [one.decode() for one in found] == [started, session.source, user_id, digest], data


_MINUS_ZERO = re.compile(rb"\s*\[\s*-0\s*,")


def _is_plain(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


_RETURN_DECODED = """
local found = decode(ARGV[1])
if not found then return false end
return { string.format('%.0f', found.started), found.source, found.user or '', found.digest or '' }
"""
