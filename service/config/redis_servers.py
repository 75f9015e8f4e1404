"""The servers in `redis.url`: one server, sentinels of one primary, or a cluster.

    redis://USER:PASSWORD@HOST:PORT/DB
    redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DB
    redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT

User and password are for Redis. Sentinels have their own in the parameters
`sentinel_username` and `sentinel_password`. A scheme that begins with `rediss` means
TLS to all of them. `redis_url.py` checks the parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

SENTINEL_CREDENTIALS = ("sentinel_username", "sentinel_password")


class Topology(StrEnum):
    """How the servers behind a URL are found."""

    SERVER = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_DEFAULT_PORTS = {Topology.SERVER: 6379, Topology.SENTINEL: 26379, Topology.CLUSTER: 6379}


def topology_of(scheme: str) -> Topology:
    """Return the topology that a URL's scheme names. Raises ValueError."""
    return Topology(scheme.partition("+")[2])


def split_hosts(parts: SplitResult) -> list[tuple[str, str]]:
    """Return the host and port of each server, as written. A port may be empty."""
    hosts = []
    for entry in parts.netloc.rpartition("@")[2].split(","):
        bracket, _, after = entry.rpartition("]")
        host, _, port = after.rpartition(":") if ":" in after else (after, "", "")
        hosts.append((bracket.removeprefix("[") if bracket else host, port))
    return hosts


@dataclass(frozen=True)
class RedisServers:
    """The parts of a valid URL.

    `hosts` has the servers, sentinels or nodes of a cluster that the URL names. `name`
    is the name of the primary that sentinels watch.
    """

    topology: Topology
    hosts: Sequence[tuple[str, int]]
    name: str
    _url: str

    @classmethod
    def of(cls, url: str) -> "RedisServers":
        """Return the parts of a valid URL, which is not `embedded`."""
        parts = urlsplit(url)
        topology = topology_of(parts.scheme)
        default = _DEFAULT_PORTS[topology]
        hosts = [(host, int(port or default)) for host, port in split_hosts(parts)]
        name = parts.path.split("/")[1] if topology is Topology.SENTINEL else ""
        return cls(topology, hosts, name, url)

    def server_url(self, host: str, port: int) -> str:
        """Return the URL of one server of Redis."""
        parts = urlsplit(self._url)
        credentials = parts.netloc.rpartition("@")[0]
        path = parts.path.removeprefix(f"/{self.name}") if self.name else parts.path
        query = [(name, value) for name, value in parse_qsl(parts.query) if name not in SENTINEL_CREDENTIALS]
        return _url(parts.scheme, credentials, host, port) + path + _query(query)

    def sentinel_url(self, host: str, port: int) -> str:
        """Return the URL of one sentinel."""
        parts = urlsplit(self._url)
        parameters = dict(parse_qsl(parts.query))
        username, password = (quote(parameters.pop(name, ""), safe="") for name in SENTINEL_CREDENTIALS)
        credentials = f"{username}:{password}" if username or password else ""
        parameters.pop("db", None)
        return _url(parts.scheme, credentials, host, port) + _query(list(parameters.items()))


def _url(scheme: str, credentials: str, host: str, port: int) -> str:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{scheme.partition('+')[0]}://{credentials}{'@' if credentials else ''}{address}"


def _query(parameters: list[tuple[str, str]]) -> str:
    return f"?{urlencode(parameters)}" if parameters else ""
