"""The value of `redis.url`.

Every part is checked before anything starts. No error repeats a part.

The parts are split as redis-py splits them. Only the parameters that a deployment needs
are allowed. Others would override the timeouts that the service sets.
"""

import os
import re
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from service.config.host_name import MAX_PORT, host_error
from service.config.redis_servers import SENTINEL_CREDENTIALS, Topology, split_hosts, topology_of

FORMS = (
    "must be `embedded` or a URL like redis://user:password@host:6379/0, rediss://host:6380/0, "
    "redis+sentinel://host,host,host/NAME/0, redis+cluster://host,host,host or unix:///run/redis.sock"
)
_SCHEMES = {f"{scheme}{kind}" for scheme in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")} | {"unix"}
_ESCAPES = "In user and password write @ : / ? # % as %40 %3A %2F %3F %23 %25"
_MAX_DB = 2**31 - 1
_MAX_SOCKET_PATH = 107  # bytes in sockaddr_un, less the final null byte
_BOOLEANS = ("true", "false", "yes", "no", "1", "0")


def check_redis_url(value: str) -> str | None:
    """Return all errors of a URL as the end of a sentence, or None when it is valid."""
    if value == "embedded":
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return f"is not a valid URL. {_ESCAPES}"
    if parts.fragment or parts.netloc.count("@") > 1 or re.search(r"\s", value):
        return f"is not a valid URL. {_ESCAPES}"
    # `urlsplit` accepts upper case, which other readers of the URL do not.
    if parts.scheme not in _SCHEMES or not value.startswith(parts.scheme):
        return FORMS
    address = _unix_errors(parts) if parts.scheme == "unix" else _tcp_errors(parts)
    return ", and ".join([*address, *_parameter_errors(parts)]) or None


def without_password(url: str) -> str:
    """Return a URL whose password and parameters are replaced by `***`."""
    parts = urlsplit(url)
    if "@" not in parts.netloc and not parts.query:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return parts._replace(
        netloc=f"{user}:***@{host}" if credentials else host, query="***" if parts.query else ""
    ).geturl()


def client_certificate(url: str) -> Path | None:
    """Return the file with the certificate of the service, or None."""
    path = dict(parse_qsl(urlsplit(url).query)).get("ssl_certfile")
    return Path(path) if path else None


def _tcp_errors(parts: SplitResult) -> Iterator[str]:
    hosts = split_hosts(parts)
    if not all(not port or _is_port(port) for _, port in hosts):
        # An unescaped `/`, `?` or `:` in a password ends the host early. The rest looks
        # like a port.
        yield f"must have a port from 1 to {MAX_PORT}. {_ESCAPES}"
    topology = topology_of(parts.scheme)
    # A bracket belongs to an IPv6 address, and is its first character.
    if not all(host and "[" not in host for host, _ in hosts):
        yield FORMS
    elif _has_bare_ipv6(parts):
        yield "must have IPv6 addresses in brackets, such as [::1]:6379"
    elif len(hosts) > 1 and topology is Topology.SERVER:
        yield "names several hosts, which needs redis+sentinel:// or redis+cluster://"
    elif error := next(filter(None, (host_error(unquote(host)) for host, _ in hosts)), None):
        yield f"must have {error}"
    yield from _path_errors(parts.path, topology)


def _has_bare_ipv6(parts: SplitResult) -> bool:
    """Return whether an IPv6 address has no brackets, which separate it from a port."""
    entries = parts.netloc.rpartition("@")[2].split(",")
    return any(":" in entry.rpartition(":")[0] and "]" not in entry for entry in entries)


def _path_errors(path: str, topology: Topology) -> Iterator[str]:
    if topology is Topology.SENTINEL:
        found = re.fullmatch(r"/([A-Za-z0-9._-]+)(?:/(.*))?", path, re.ASCII)
        if not found:
            yield "must have the name of the primary as its path, such as /mymaster/0"
        elif found[2] and not _is_db(found[2]):
            yield "must have the number of a database after the name of the primary, such as /mymaster/0"
    elif topology is Topology.CLUSTER:
        if path not in {"", "/", "/0"}:
            yield "must have no path, because a cluster has only database 0"
    elif path not in {"", "/"} and not _is_db(path[1:]):
        yield "must have the number of a database, such as /0, or nothing as its path"


def _unix_errors(parts: SplitResult) -> Iterator[str]:
    path = unquote(parts.path)
    if parts.netloc.rpartition("@")[2]:
        yield "must have three slashes before the path of the socket, such as unix:///run/redis.sock"
    elif not path.startswith("/") or path.endswith("/") or "\0" in path:
        yield FORMS
    elif len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        yield f"must have a socket whose path is at most {_MAX_SOCKET_PATH} bytes long"


def _parameter_errors(parts: SplitResult) -> Iterator[str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    yield from _name_errors([name for name, _ in pairs])
    values = {name: value for name, value in pairs if name in _CHECKS}
    for name, value in values.items():
        if error := _value_error(name, value, parts.scheme):
            yield f"has the parameter {name}{error}"
    path = parts.path.strip("/")
    database = path.partition("/")[2] if parts.scheme.endswith("+sentinel") else path
    if "db" in values and parts.scheme != "unix" and database:
        yield "has a database both in the path and in the parameter db"
    yield from _key_errors(values)


def _name_errors(names: Sequence[str]) -> Iterator[str]:
    for name in sorted({*names} - {*_CHECKS}):
        shown = f"the parameter {name}" if re.fullmatch("[a-z_]{1,40}", name) else "a parameter (name not shown)"
        yield f"has {shown}, which is not one of {', '.join(sorted(_CHECKS))}"
    for name in sorted({*names} & {*_CHECKS}):
        if names.count(name) > 1:
            yield f"has the parameter {name} more than once"


def _value_error(name: str, value: str, scheme: str) -> str | None:
    if not value:
        return " without a value"
    if name.startswith("ssl_") and not scheme.startswith("rediss"):
        return ", which needs rediss://"
    if name in SENTINEL_CREDENTIALS and not scheme.endswith("+sentinel"):
        return ", which needs redis+sentinel://"
    if name == "db" and scheme.endswith("+cluster"):
        return ", but a cluster has only database 0"
    error = _CHECKS[name](value)
    return f", which must be {error}" if error else None


def _key_errors(values: Mapping[str, str]) -> Iterator[str]:
    certificate, key = values.get("ssl_certfile"), values.get("ssl_keyfile")
    if ("ssl_certfile" in values) != ("ssl_keyfile" in values):
        yield "has one of the parameters ssl_certfile and ssl_keyfile without the other"
    elif certificate and key and not (_file_error(certificate) or _file_error(key)):
        try:
            # With an empty password OpenSSL does not prompt for one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: "")
        except OSError as error:  # ssl.SSLError is a subclass
            reason = getattr(error, "reason", None) or error.strerror
            yield (
                f"has parameters ssl_certfile and ssl_keyfile, which must be the PEM files of one pair, with a key "
                f"without a passphrase ({reason})"
            )


def _is_port(string: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", string, re.ASCII) is not None and 0 < int(string) <= MAX_PORT


def _is_db(string: str) -> bool:
    return re.fullmatch("[0-9]{1,10}", string, re.ASCII) is not None and int(string) <= _MAX_DB


def _file_error(path: str) -> str | None:
    try:
        if stat.S_ISREG(Path(path).stat().st_mode):
            # Reading a pipe would wait for a writer.
            with Path(path).open("rb") as file:
                file.read(1)
            return None
        reason = "No regular file"
    except OSError as error:
        reason = error.strerror or ""
    except ValueError:
        reason = "Null byte in its name"
    return f"a file that can be read ({reason})"


def _authorities_error(path: str) -> str | None:
    if error := _file_error(path):
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
    "ssl_ca_certs": _authorities_error,
    "ssl_cert_reqs": _one_of("required", "optional", "none"),
    "ssl_certfile": _file_error,
    "ssl_check_hostname": _one_of(*_BOOLEANS),
    "ssl_keyfile": _file_error,
    **dict.fromkeys(SENTINEL_CREDENTIALS, lambda _: None),
}
