"""Checks of settings by value. Each returns the end of a sentence about the setting, or None."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from service.config.host_name import host_error

MAX_PORT = 65535
MIN_SECRET_LENGTH = 8

Check = Callable[[Any], str | None]


def between(low: float, high: float) -> Check:
    """Return a check for numbers, both ends included."""
    return lambda value: None if low <= value <= high else f"must be from {low} to {high}"


def matching(pattern: str, meaning: str) -> Check:
    """Return a check for texts that a regular expression has to match as a whole."""
    compiled = re.compile(pattern)
    return lambda value: None if value is None or compiled.fullmatch(value) else f"must be {meaning}"


def each(check: Check) -> Check:
    """Return a check for the entries of a list. The error names the first wrong entry by its number."""

    def check_each(values: tuple[str, ...]) -> str | None:
        found = ((number, check(value)) for number, value in enumerate(values, 1))
        return next((f"entry {number} {error}" for number, error in found if error), None)

    return check_each


def check_host(value: str) -> str | None:
    """Check the address that the server listens on."""
    error = host_error(value)
    return f"must be {error}" if error else None


def check_network(value: str) -> str | None:
    """Check an address or a network of trusted proxies."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return "must be an IP address or a network, such as 10.0.0.0/8 or ::1"
    if network.prefixlen == 0:
        return "must not be every address: each client could then name any address as its own"
    if "/" in value and str(network.network_address) != str(ipaddress.ip_interface(value).ip):
        return f"has bits set after the prefix: {network}"
    return None


def check_otlp_endpoint(value: str | None) -> str | None:
    """Check the URL of a collector of traces."""
    if value is None:
        return None
    found = re.fullmatch(
        r"https?://(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?(?:/[A-Za-z0-9._~/-]*)?", value
    )
    if found is None:
        return "must be a URL like http://collector:4318; credentials go into OTEL_EXPORTER_OTLP_HEADERS"
    if value.rstrip("/").endswith("/v1/traces"):
        return "must not end in /v1/traces; that part is added"
    if found[3] and not 1 <= int(found[3]) <= MAX_PORT:
        return f"must have a port from 1 to {MAX_PORT}"
    error = host_error(found[1] or found[2])
    return f"must have {error}" if error else None


def check_cookie_domain(value: str | None) -> str | None:
    """Check the `Domain` attribute of the cookie."""
    if value is None:
        return None
    name = value.removeprefix(".")
    if host_error(name) or ":" in name or "_" in name or name.endswith(".") or re.fullmatch("[0-9.]+", name):
        return "must be a domain name, such as example.com, and no address; empty means the host that set it"
    return None


def check_user_secret(value: str) -> str | None:
    """Check the length of a secret."""
    is_long = len(value.strip()) >= MIN_SECRET_LENGTH
    return None if is_long else f"must have {MIN_SECRET_LENGTH} characters or more besides white space at its ends"
