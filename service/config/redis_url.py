"""The value of `redis.url`: every part of it checked before anything starts, and none of it repeated.

The parts are read as redis-py reads them. Of the parameters that it takes, those are allowed that a deployment needs.
Others would override the time-outs that the service sets.
"""

import os
import re
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from service.config.host_name import host_error

FORMS = (
    "must be `embedded` or a URL like redis://user:password@host:6379/0, "
    "rediss://host:6380/0 or unix:///run/redis.sock"
)
_ESCAPES = "in user and password write @ : / ? # % as %40 %3A %2F %3F %23 %25"
_MAX_DB = 2**31 - 1
_MAX_SOCKET_PATH = 107  # bytes in sockaddr_un, less the final null byte
_SWITCH = ("true", "false", "yes", "no", "1", "0")


def check_redis_url(value: str) -> str | None:
    """Return everything that is wrong with a URL, as the end of a sentence. None when it can be used."""
    if value == "embedded":
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return f"is not a valid URL; {_ESCAPES}"
    if parts.fragment or parts.netloc.count("@") > 1 or re.search(r"\s", value):
        return f"is not a valid URL; {_ESCAPES}"
    if parts.scheme not in {"redis", "rediss", "unix"}:
        return FORMS
    address = _unix_mistakes(parts) if parts.scheme == "unix" else _tcp_mistakes(parts)
    return "; ".join([*address, *_parameter_mistakes(parts)]) or None


def _tcp_mistakes(parts: SplitResult) -> Iterator[str]:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        # A password with an unescaped `/`, `?` or `:` ends the host early and is taken for a port.
        yield f"must have a port from 1 to 65535; {_ESCAPES}"
    if not parts.hostname:
        yield FORMS
    elif error := host_error(unquote(parts.hostname)):
        yield f"must have {error}"
    if parts.path not in {"", "/"} and not _is_db(parts.path[1:]):
        yield "must end in the number of a database, such as /0, or in nothing"


def _unix_mistakes(parts: SplitResult) -> Iterator[str]:
    path = unquote(parts.path)
    if parts.netloc.rpartition("@")[2]:
        yield "must have three slashes before the path of the socket, such as unix:///run/redis.sock"
    elif not path.startswith("/") or path.endswith("/") or "\0" in path:
        yield FORMS
    elif len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        yield f"must have a socket whose path is at most {_MAX_SOCKET_PATH} bytes long"


def _parameter_mistakes(parts: SplitResult) -> Iterator[str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    for name in sorted({*names} - {*_CHECKS}):
        shown = name if re.fullmatch("[a-z_]{1,40}", name) else "its name is not repeated here"
        yield f"has a parameter that is not known here ({shown}); known are {', '.join(sorted(_CHECKS))}"
    for name in sorted({*names} & {*_CHECKS}):
        if names.count(name) > 1:
            yield f"has the parameter {name} more than once"
    values = {name: value for name, value in pairs if name in _CHECKS}
    for name, value in values.items():
        if not value:
            yield f"has the parameter {name} without a value"
        elif name.startswith("ssl_") and parts.scheme != "rediss":
            yield f"has the parameter {name}, which needs rediss://"
        elif error := _CHECKS[name](value):
            yield f"has the parameter {name}, which must be {error}"
    if "db" in values and parts.scheme != "unix" and parts.path not in {"", "/"}:
        yield "has a database in the path and in the parameter db; leave one of them out"
    yield from _key_mistakes(values)


def _key_mistakes(values: Mapping[str, str]) -> Iterator[str]:
    certificate, key = values.get("ssl_certfile"), values.get("ssl_keyfile")
    if ("ssl_certfile" in values) != ("ssl_keyfile" in values):
        yield "has one of the parameters ssl_certfile and ssl_keyfile; they go together"
    elif certificate and key and not (_file_mistake(certificate) or _file_mistake(key)):
        try:
            # A password is never asked for: the service has nobody to ask.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: "")
        except OSError as error:  # of which ssl.SSLError is one
            reason = getattr(error, "reason", None) or error.strerror
            yield (
                f"has parameters ssl_certfile and ssl_keyfile, which must be PEM files that belong together, the key "
                f"without a passphrase ({reason})"
            )


def _is_db(text: str) -> bool:
    return re.fullmatch("[0-9]{1,10}", text, re.ASCII) is not None and int(text) <= _MAX_DB


def _file_mistake(path: str) -> str | None:
    try:
        if stat.S_ISREG(Path(path).stat().st_mode):  # the check, and later OpenSSL, would wait for what a pipe gives
            with Path(path).open("rb") as file:
                file.read(1)
            return None
        reason = "No regular file"
    except OSError as error:
        reason = error.strerror or ""
    except ValueError:
        reason = "Null byte in its name"
    return f"a file that can be read ({reason})"


def _authorities_mistake(path: str) -> str | None:
    if error := _file_mistake(path):
        return error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return "a PEM file of certificates"
    return None


def _one_of(*choices: str) -> Callable[[str], str | None]:
    return lambda value: None if value in choices else f"one of {', '.join(choices)}"


_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "db": lambda value: None if _is_db(value) else "the number of a database, such as 0",
    "ssl_ca_certs": _authorities_mistake,
    "ssl_cert_reqs": _one_of("required", "optional", "none"),
    "ssl_certfile": _file_mistake,
    "ssl_check_hostname": _one_of(*_SWITCH),
    "ssl_keyfile": _file_mistake,
}
