"""Host names, IP addresses and ports in settings and on the command line."""

import ipaddress
import re

# Compose allows underscores in the names of services, which are host names.
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_MAX_LENGTH = 253
MAX_PORT = 65_535


def host_error(host: str) -> str | None:
    """Return what a host must be, or None for a valid name or address.

    An IPv6 address has no brackets.
    """
    if ":" in host or re.fullmatch("[0-9.]+", host, re.ASCII):
        return None if _is_address(host) else "a valid IP address, without a zone"
    if len(host) <= _MAX_LENGTH and _NAME.fullmatch(host):
        return None
    return "a host name whose parts between dots have 1 to 63 letters, digits, - or _"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that listens on the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host
