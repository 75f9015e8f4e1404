import re
import ssl
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.config.redis_servers import RedisServers, Topology
from service.config.redis_url import check_redis_url
from service.config.settings import RedisSettings
from service.storage.connection import RedisConnection

CANARY = "hunter2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with valid TLS files and with invalid ones."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("redis.example")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.issue_cert("other.example").private_key_pem.write_to_path(folder / "other.pem")
    (folder / "empty.pem").write_text("")
    return folder


GOOD = [
    "embedded",
    "redis://localhost",
    "redis://localhost/",
    "redis://localhost:/0",
    "redis://redis_main:6379/15",
    "redis://jay:p%40ss%3A%2F%23@[::1]:6379/0",
    "redis://:pass@10.0.0.1",
    "redis://host?db=3",
    "rediss://host:6380/0?ssl_cert_reqs=none",
    "rediss://host?ssl_cert_reqs=required&ssl_check_hostname=false",
    "rediss://host?ssl_cert_reqs=optional&ssl_check_hostname=true",
    "rediss://host/1?ssl_ca_certs={ca}",
    "rediss://host/1?ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}",
    "unix:///run/redis.sock",
    "unix://user:pass@/run/redis.sock?db=2",
    "unix:///run/with%20space.sock",
    "redis+sentinel://one,two:26380,[::1]:26381/jay.main_1",
    "redis+sentinel://jay:p%40ss@one/jay/3?sentinel_username=u&sentinel_password=p%2Fw",
    "rediss+sentinel://one/jay?ssl_ca_certs={ca}&db=2",
    "redis+cluster://one",
    "redis+cluster://jay:p%40ss@one:7000,two,[::1]:7001/0",
    "rediss+cluster://one:7000/?ssl_cert_reqs=none",
]

# Each URL with the words that its error has to contain.
BAD = [
    ("redis://h[::1]", "must be `embedded` or a URL like"),
    ("redis://::1", "must have IPv6 addresses in brackets, such as [::1]:6379"),
    ("redis://::1:6379/0", "must have IPv6 addresses in brackets"),
    ("rediss://jay:p@2001:db8::1", "must have IPv6 addresses in brackets"),
    ("redis+sentinel://[::1]:26379,::1:26380/jay", "must have IPv6 addresses in brackets"),
    ("REDIS://h", "must be `embedded` or a URL like"),
    ("Unix:///run/redis.sock", "must be `embedded` or a URL like"),
    ("redis://host?ssl_cert_reqs=none", "ssl_cert_reqs, which needs rediss://"),
    ("unix:///run/redis.sock?ssl_ca_certs={ca}", "ssl_ca_certs, which needs rediss://"),
    ("rediss://host?ssl_cert_reqs=bogus", "ssl_cert_reqs, which must be one of required, optional, none"),
    ("rediss://host?ssl_cert_reqs=NONE", "ssl_cert_reqs, which must be one of"),
    ("rediss://host?ssl_check_hostname=maybe", "ssl_check_hostname, which must be one of true, false"),
    (
        "rediss://host?ssl_ca_certs=/hunter2/ca.pem",
        "ssl_ca_certs, which must be a file that can be read (No such file",
    ),
    ("rediss://host?ssl_ca_certs=/tmp", "ssl_ca_certs, which must be a file that can be read (No regular file)"),
    ("rediss://host?ssl_ca_certs=/dev/zero", "ssl_ca_certs, which must be a file that can be read (No regular file)"),
    ("rediss://host?ssl_ca_certs=%00", "ssl_ca_certs, which must be a file that can be read (Null byte"),
    ("rediss://host?ssl_ca_certs={empty}", "ssl_ca_certs, which must be a PEM file of certificates"),
    ("rediss://host?ssl_ca_certs={key}", "ssl_ca_certs, which must be a PEM file of certificates"),
    ("rediss://host?ssl_certfile={cert}", "ssl_certfile and ssl_keyfile without the other"),
    ("rediss://host?ssl_keyfile={key}", "ssl_certfile and ssl_keyfile without the other"),
    ("rediss://host?ssl_certfile={cert}&ssl_keyfile={other}", "PEM files of one pair"),
    ("rediss://host?ssl_certfile={key}&ssl_keyfile={key}", "PEM files of one pair"),
    ("rediss://host?ssl_certfile={cert}&ssl_keyfile=/hunter2", "ssl_keyfile, which must be a file"),
    ("redis://host?db=abc", "db, which must be the number"),
    ("redis://host?db=-1", "db, which must be the number"),
    ("redis://host?db=1_0", "db, which must be the number"),
    ("redis://host?db=٣", "db, which must be the number"),
    ("redis://host?db=99999999999", "db, which must be the number"),
    ("redis://host?db=1&db=2", "db more than once"),
    ("redis://host/1?db=1", "in the path and in the parameter db"),
    ("redis://host?db=", "db without a value"),
    ("redis://host?db", "db without a value"),
    ("rediss://host?ssl_ca_certs=", "ssl_ca_certs without a value"),
    ("redis://host?socket_timeout=9", "the parameter socket_timeout, which is not one of"),
    ("redis://host?hunter2=1", "(name not shown)"),
    ("redis://host/-1", "number of a database"),
    ("redis://host/1/2", "number of a database"),
    ("redis://host:0", "port from 1 to 65535"),
    ("redis://host:65536", "port from 1 to 65535"),
    ("redis://host:x", "port from 1 to 65535"),
    ("redis://user:hunter2/x@host", "port from 1 to 65535"),
    ("redis://a..b", "must have a host name"),
    ("redis://-a", "must have a host name"),
    ("redis://" + "a" * 64, "must have a host name"),
    ("redis://host%00", "must have a host name"),
    ("redis://1.2.3.4.5", "must have a valid IP address"),
    ("redis://[::g]", ""),
    ("redis://", "must be `embedded` or a URL"),
    ("redis://user:hunter2@", "must be `embedded` or a URL"),
    ("redis://ho st", "is not a valid URL"),
    ("redis://host#hunter2", "is not a valid URL"),
    ("redis://a:hunter2@b@host", "is not a valid URL"),
    ("unix://run/redis.sock", "three slashes"),
    ("unix:run/redis.sock", "must be `embedded` or a URL"),
    ("unix:///run/", "must be `embedded` or a URL"),
    ("unix:///" + "x" * 120, "at most 107 bytes"),
    ("redis+sentinel://one", "must have the name of the primary as its path"),
    ("redis+sentinel://one/", "must have the name of the primary as its path"),
    ("redis+sentinel://one/jay/x", "number of a database after the name"),
    ("redis+sentinel://one/jay/1?db=2", "in the path and in the parameter db"),
    ("redis+sentinel://one,,two/jay", "must be `embedded` or a URL"),
    ("redis+sentinel://one,two:0/jay", "port from 1 to 65535"),
    ("redis+sentinel://one,-two/jay", "must have a host name"),
    ("redis+cluster://one/1", "a cluster has only database 0"),
    ("redis+cluster://one?db=0", "a cluster has only database 0"),
    ("redis+cluster://one?sentinel_password=hunter2", "sentinel_password, which needs redis+sentinel://"),
    ("redis://one,two", "which needs redis+sentinel:// or redis+cluster://"),
    ("redis+other://host", "must be `embedded` or a URL"),
    ("http://host", "must be `embedded` or a URL"),
    ("Embedded", "must be `embedded` or a URL"),
]


def filled(url: str, files: Path) -> str:
    """Replace `{ca}` and similar names by the quoted path of the file."""
    return re.sub(r"{(\w+)}", lambda found: quote(str(files / f"{found[1]}.pem")), url)


async def connects(url: str) -> None:
    """Use a URL as the service does, up to the connection, without an error."""
    connection = RedisConnection.alone(url, RedisSettings())
    if url.startswith("unix:") or RedisServers.of(url).topology is Topology.SERVER:
        used = [url]
    else:
        servers = RedisServers.of(url)
        used = [address(*host) for host in servers.hosts for address in (servers.server_url, servers.sentinel_url)]
    for one in used:
        pool = connection._lane_of(one)._client.redis.connection_pool
        made = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
        if context := getattr(made, "ssl_context", None):
            assert isinstance(context.get(), ssl.SSLContext)
    await connection.close()


@pytest.mark.parametrize("url", GOOD)
async def test_a_url_that_is_accepted_works(url: str, files: Path) -> None:
    """redis-py accepts every URL that the check accepts."""
    url = filled(url, files)
    assert check_redis_url(url) is None
    if url != "embedded":
        await connects(url)


@pytest.mark.parametrize(("url", "expected"), BAD)
def test_a_rejected_url_is_explained(url: str, expected: str, files: Path) -> None:
    """The error names the invalid part and repeats no value."""
    error = check_redis_url(filled(url, files))
    assert error is not None
    assert expected in error
    assert CANARY not in error


def test_all_errors_of_a_url_are_reported_at_once() -> None:
    """All errors of a URL are reported together."""
    error = check_redis_url("redis://host:0?ssl_cert_reqs=none&db=x&ssl_keyfile=")
    assert error is not None
    for expected in ("port", "ssl_cert_reqs", "parameter db", "ssl_keyfile without a value", "without the other"):
        assert expected in error


WORDS = """
redis rediss unix :// : / // ? & = # @ % %00 [ ] [::1] host db ssl_cert_reqs ssl_check_hostname ssl_ca_certs none
true 0 1 65536 é .. _
"""
PARTS = st.sampled_from(WORDS.split())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400, deadline=None)
@given(
    st.one_of(st.text(), st.lists(PARTS, max_size=12).map("".join)),
    st.sampled_from(["", "redis://", "rediss://h?", "unix:///"]),
)
@example("::::", "redis://")
async def test_any_url_is_rejected_or_works(rest: str, start: str) -> None:
    """Any string is rejected with a sentence or accepted by redis-py."""
    url = start + rest
    if check_redis_url(url) is None and url != "embedded":
        await connects(url)
