"""The address of the client behind trusted proxies.

A proxy appends the address from which it got the request to `X-Forwarded-For` or
`Forwarded`. The client may invent everything to the left of that. So the list is read
from the right, and the first address that is not a trusted proxy's is the client's.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from aiohttp import hdrs, web

from service.api import wire
from service.api.field_lines import combined, elements

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# An address with or without a port: 192.0.2.1, 192.0.2.1:80, 2001:db8::1,
# [2001:db8::1]:80.
_NODE = re.compile(r"\[(?P<v6>[^\]]+)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}|(?P<bare>[0-9A-Fa-f.:]+)")
# A parameter of an element of `Forwarded` (RFC 7239): for=192.0.2.1,
# For="[2001:db8::1]:4711".
_FOR = re.compile(r'(?:^|;)[ \t]*for=(?:"([^"\\]*)"|([^\s";,]*))[ \t]*(?:;|$)', re.IGNORECASE)

# Providers give a customer a whole IPv6 network of this size or larger. A client can
# use all its addresses, so a limit for each address would have no effect.
_IPV6_PREFIX = 64
_UNKNOWN = "unknown"


class ClientAddresses:
    """Finds the address that a request comes from.

    `trusted` are networks such as 10.0.0.0/8.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = tuple(map(ipaddress.ip_network, trusted))

    def of(self, request: web.Request) -> str:
        """Return the client's IPv4 address, or its IPv6 network of 64 bits."""
        headers = request.headers
        forwarded_for, forwarded = combined(headers, wire.X_FORWARDED_FOR), combined(headers, hdrs.FORWARDED)
        return self.behind(request.remote or "", forwarded_for, forwarded)

    def behind(self, peer: str, forwarded_for: str | None, forwarded: str | None) -> str:
        """Return the client's address, from the peer's and the headers of proxies."""
        address = _parsed(peer.partition("%")[0])  # without a zone
        if address is None:
            return _UNKNOWN  # the connection was closed
        if self._is_trusted(address):
            for hop in _hops_from_the_right(forwarded_for, forwarded):
                # Hops beyond one without an address (`unknown`, `_hidden`) cannot be
                # trusted.
                if (parsed := _parsed(hop)) is None:
                    break
                address = parsed
                if not self._is_trusted(address):
                    break
        return _address_or_network(address)

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def _hops_from_the_right(forwarded_for: str | None, forwarded: str | None) -> Iterator[str]:
    """Yield the hops that the proxies report, the nearest first.

    A request that passed proxies of both kinds has both headers. X-Forwarded-For is the
    one that almost all proxies write, so a client's own `Forwarded` must not win over
    it.
    """
    if hops := list(elements(forwarded_for)):
        yield from reversed(hops)
    else:
        for element in reversed(list(elements(forwarded))):
            found = _FOR.search(element)
            yield (found[1] or found[2] or "") if found else ""


@lru_cache(maxsize=4096)
def _parsed(node: str) -> _Address | None:
    found = _NODE.fullmatch(node)
    if found is None:
        return None
    try:
        address = ipaddress.ip_address(found["v6"] or found["v4"] or found["bare"])
    except ValueError:
        return None
    # A socket that takes both IP versions reports an IPv4 client as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def _address_or_network(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
