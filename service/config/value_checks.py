"""Checks of single settings.

Each returns the error as the end of a sentence about the setting, or None.

A check that a JSON Schema can express as well has a property `schema` with its
keywords.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from service.config.host_name import MAX_PORT, host_error
from service.sessions import SOURCE_PATTERN

MIN_SECRET_LENGTH = 8
# IPv6 writes the IPv4 address 192.0.2.1 as ::ffff:192.0.2.1, behind this many bits.
_MAPPED_PREFIX = 96

Check: TypeAlias = Callable[[Any], str | None]


@dataclass(frozen=True)
class Between:
    """A check for numbers from `low` to `high`, both included."""

    low: float
    high: float

    def __call__(self, value: float) -> str | None:
        """Check a number."""
        return None if self.low <= value <= self.high else f"must be from {self.low} to {self.high}"

    @property
    def schema(self) -> Mapping[str, object]:
        """The keywords of JSON Schema."""
        return {"minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Matching:
    """A check for strings that match a regular expression from end to end.

    `meaning` describes the strings that match, for the error.
    """

    pattern: str
    meaning: str

    def __call__(self, value: str | None) -> str | None:
        """Check a string. None is valid."""
        return None if value is None or re.fullmatch(self.pattern, value) else f"must be {self.meaning}"

    @property
    def schema(self) -> Mapping[str, object]:
        """The keywords of JSON Schema."""
        return {"pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True)
class Each:
    """A check for lists whose entries all pass `check`.

    The error gives the number of each entry that fails.
    """

    check: Check

    def __call__(self, values: Sequence[str]) -> str | None:
        """Check a list."""
        results = ((number, self.check(value)) for number, value in enumerate(values, 1))
        return ", and ".join(f"entry {number} {error}" for number, error in results if error) or None


check_key_name = Matching(r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits or . _ -")
check_source = Matching(SOURCE_PATTERN, "1 to 64 letters, digits or . _ : / -")


def check_host(value: str) -> str | None:
    """Check the address that the server listens on."""
    error = host_error(value)
    return f"must be {error}" if error else None


def check_network(value: str) -> str | None:
    """Check the address or the network of trusted proxies."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return "must be an IP address or a network, such as 10.0.0.0/8 or ::1"
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if network.prefixlen == (0 if mapped is None else _MAPPED_PREFIX):
        return "must not cover all addresses: every client could then claim any address"
    if mapped is not None:
        # The service takes such a peer for its IPv4 address.
        plain = ipaddress.ip_network((mapped, network.prefixlen - _MAPPED_PREFIX))
        return f"must be in the form of IPv4: {plain if '/' in value else mapped}"
    if "/" in value and str(network.network_address) != str(ipaddress.ip_interface(value).ip):
        return f"has bits set after the prefix. Did you mean {network}?"
    return None


def check_otlp_endpoint(value: str | None) -> str | None:
    """Check the URL of a collector of traces."""
    if value is None:
        return None
    found = re.fullmatch(
        r"https?://(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?(?:/[A-Za-z0-9._~/-]*)?", value
    )
    if found is None:
        return "must be a URL like http://collector:4318. Credentials belong in OTEL_EXPORTER_OTLP_HEADERS"
    if value.rstrip("/").endswith("/v1/traces"):
        return "must not end in /v1/traces. The service appends that path"
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
        return "must be a domain name such as example.com, not an address. Leave it empty for the service's own host"
    if "." not in name:
        return "must have a dot, or browsers reject the cookie. Leave it empty for the service's own host"
    return None


def check_user_secret(value: str) -> str | None:
    """Check the length of a secret."""
    is_long = len(value.strip()) >= MIN_SECRET_LENGTH
    return None if is_long else f"must have at least {MIN_SECRET_LENGTH} characters, not counting outer white space"
