"""Web origins as browsers spell them in the `Origin` header (RFC 6454, WHATWG URL).

An origin is compared as a string, so only the browser's own spelling ever matches.
Every other spelling is an error. Where the right spelling is known, the error has it.
"""

import ipaddress
import re

from service.config.host_name import MAX_PORT

_EXAMPLE = "https://www.example.com, http://localhost:3000 or capacitor://localhost"

# Browsers leave the default port of these schemes out, and rewrite their hosts as
# domain names or addresses. The hosts of other schemes, such as capacitor:// or
# chrome-extension://, are kept.
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}

_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]\\%*]+)"
    r"(?::(?P<port>[0-9]*))?(?P<rest>[/?#].*)?",
    re.DOTALL,
)
_HOST = re.compile(r"[a-z0-9_~-]+(\.[a-z0-9_~-]+)*\.?")
# Browsers read a host whose last part is a number as an IPv4 address.
_NUMERIC = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?")


def check_origin(value: str) -> str | None:
    """Return what an origin must be instead, or None if browsers send it so."""
    if value == "*":
        return "must not be `*`: pages call with cookies, and browsers then accept exact origins only"
    if value == "null":
        return "must not be `null`: every sandboxed page and every local file has this origin"
    found = _ORIGIN.fullmatch(value)
    if found is None:
        return f"must be scheme://host or scheme://host:port, such as {_EXAMPLE}"
    scheme = found["scheme"].lower()
    host = _spelled_host(found["host"], is_domain=scheme in _DEFAULT_PORTS)
    if host is None:
        return f"must have a host as browsers spell it (non-ASCII names in punycode: xn--…), such as {_EXAMPLE}"
    spelled = f"{scheme}://{host}"
    if port := found["port"]:
        number = _port_number(port)
        if number is None:
            return f"must have a port from 1 to {MAX_PORT}, or none for the default port of the scheme: {spelled}"
        if number != _DEFAULT_PORTS.get(scheme):
            spelled += f":{number}"
    return None if spelled == value else f"must be spelled as browsers send it: {spelled}"


def _port_number(digits: str) -> int | None:
    """Return a port, or None for a number that is not one."""
    significant = digits.lstrip("0")
    if not 1 <= len(significant) <= len(str(MAX_PORT)):
        # int() rejects thousands of digits
        return None
    return int(significant) if int(significant) <= MAX_PORT else None


def _spelled_host(host: str, *, is_domain: bool) -> str | None:
    """Return a host as browsers spell it, or None when that is unknown."""
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    if not host.isascii():
        # The codec keeps control characters, and the result may end like an address.
        encoded = _punycode(host)
        return None if encoded is None else _spelled_host(encoded, is_domain=is_domain)
    lower = host.lower()
    if is_domain and _NUMERIC.fullmatch(lower):
        try:
            return str(ipaddress.IPv4Address(lower))
        except ValueError:
            return None
    return lower if _HOST.fullmatch(lower) else None


def _punycode(host: str) -> str | None:
    """Return a host in punycode, or None where browsers may spell it differently.

    Python's codec follows IDNA 2003 and browsers UTS 46. The two differ in a few
    letters, such as `ß`, which the codec replaces. Decoding does not restore those.
    """
    try:
        encoded = host.encode("idna").decode("ascii")
        is_same = encoded.encode("ascii").decode("idna") == host.lower()
    except UnicodeError:
        return None
    return encoded.lower() if is_same else None
