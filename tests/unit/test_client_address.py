import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from service.api.client_address import ClientAddresses

PROXIES = ("10.0.0.0/8", "127.0.0.1", "2001:db8:ff::/48")


def address(remote: str, *headers: tuple[str, str]) -> str:
    request = make_mocked_request("POST", "/", headers=CIMultiDict(headers))
    return ClientAddresses(PROXIES).of(request.clone(remote=remote))


def x(*values: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", value) for value in values]


def forwarded(*values: str) -> list[tuple[str, str]]:
    return [("Forwarded", value) for value in values]


@pytest.mark.parametrize("headers", [x("1.1.1.1"), forwarded("for=1.1.1.1"), []])
def test_another_machine_cannot_name_its_address(headers: list[tuple[str, str]]) -> None:
    """Forwarding headers of a peer that is not a trusted proxy are ignored."""
    assert address("203.0.113.9", *headers) == "203.0.113.9"


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        (x("1.1.1.1, 198.51.100.7"), "198.51.100.7"),
        (x("1.1.1.1", "198.51.100.7"), "198.51.100.7"),
        (x("198.51.100.7, 10.0.0.9,10.1.2.3"), "198.51.100.7"),
        (x("198.51.100.7:4711"), "198.51.100.7"),
        (x("198.51.100.7:65535"), "198.51.100.7"),
        (x("198.51.100.7:100000"), "10.0.0.5"),
        (x("[2001:db8:1:2:3::4]:4711, 2001:db8:ff::1"), "2001:db8:1:2::/64"),
        (x("::ffff:198.51.100.7"), "198.51.100.7"),
        (x("10.0.0.1, , 10.0.0.2,"), "10.0.0.1"),
        (x(""), "10.0.0.5"),
        (x("1.1.1.1, unknown"), "10.0.0.5"),
        (x("1.1.1.1, unknown, 10.0.0.7"), "10.0.0.7"),
        (x("1.1.1.1, 999.1.1.1"), "10.0.0.5"),
        (x("1.1.1.1, 198.51.100.7 8.8.8.8"), "10.0.0.5"),
        (forwarded("for=1.1.1.1", "for=198.51.100.7"), "198.51.100.7"),
        (forwarded('for=1.1.1.1, proto=https;FOR="198.51.100.7:80";by=10.0.0.5'), "198.51.100.7"),
        (forwarded('for="[2001:db8:1:2:3::4]:4711"'), "2001:db8:1:2::/64"),
        (forwarded("proto=https; for=198.51.100.7 ;by=10.0.0.5"), "198.51.100.7"),
        (forwarded("notfor=1.1.1.1"), "10.0.0.5"),
        (forwarded("for=1.1.1.1 8.8.8.8"), "10.0.0.5"),
        (forwarded("for=1.1.1.1, for=_hidden"), "10.0.0.5"),
        (forwarded("for=1.1.1.1, proto=https"), "10.0.0.5"),
        (forwarded('for="1.1.1.1, for=198.51.100.7'), "198.51.100.7"),
        ([*forwarded("for=1.1.1.1"), *x("198.51.100.7")], "198.51.100.7"),
        (x(*["10.0.0.1"] * 60), "10.0.0.1"),
    ],
)
def test_the_client_is_the_first_untrusted_hop_from_the_right(headers: list[tuple[str, str]], client: str) -> None:
    """The client is the right-most address that is not a trusted proxy.

    The client can make up everything to the left of it.
    """
    assert address("10.0.0.5", *headers) == client


def test_an_ipv6_network_is_one_client() -> None:
    """IPv6 clients are distinguished by their first 64 bits, without the zone."""
    assert address("2001:db8:1:2:aaaa::1") == address("2001:db8:1:2:bbbb::1") == "2001:db8:1:2::/64"
    assert address("fe80::1%eth0") == "fe80::/64"


def test_a_closed_connection_has_an_address_too() -> None:
    """Requests of closed connections share one placeholder address."""
    assert address("") == "unknown"
