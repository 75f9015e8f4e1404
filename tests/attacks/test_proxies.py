"""The parts of the shipped configurations of nginx and HAProxy that security needs."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from service.api_keys import hash_key
from tests.attacks.attack import answers_of, ask
from tests.support.certificates import Authority
from tests.support.haproxy import CONFIGURATION, HAPROXY, start_haproxy
from tests.support.nginx import NGINX, start_nginx
from tests.support.processes import KEY, PATH, TOKEN, Launch, Process, eventually
from tests.support.servers import RedisServer, binaries

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
PROXIES = [
    pytest.param(start_nginx, marks=needs_nginx, id="nginx"),
    pytest.param(start_haproxy, marks=needs_haproxy, id="haproxy"),
]
LIMITED = json.dumps(
    [{"name": "demo", "sha256": hash_key(KEY), "scopes": ["track"], "create_limit": "2/hour", "source": "app"}]
)
SPOOFED = (
    *(
        "X-Forwarded-For: 1.1.1.1",
        "X-Forwarded-For: 2.2.2.2, 3.3.3.3",
        "x-forwarded-for: 4.4.4.4\r\nForwarded: for=5.5.5.5",
    ),
    *("Forwarded: for=6.6.6.6", "X-Real-IP: 7.7.7.7", "X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-For: 9.9.9.9"),
)

Behind = Callable[..., Process]


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    """Return a function that starts a proxy in front of a service."""
    proxies: list[Process] = []

    def start(start_proxy: Callable[..., Process], service: Process, pair: Authority | None = None) -> Process:
        proxies.append(start_proxy(tmp_path / f"proxy-{len(proxies)}", service.url, pair=pair))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.stop()


def test_the_document_shows_the_shipped_configuration(project: Path) -> None:
    """docs/operations.md contains the shipped configuration of HAProxy unchanged."""
    shown = f"```haproxy\n{CONFIGURATION.read_text('utf-8')}```"
    assert shown in (project / "docs" / "operations.md").read_text("utf-8")


@needs_haproxy
def test_haproxy_passes_everything(launch: Launch, behind: Behind) -> None:
    """Cookie, header and alias pass HAProxy, and other paths do not exist."""
    front = behind(start_haproxy, launch())
    created = front.request("POST")
    answer_headers = {name.lower(): value for name, value in created.headers.items()}
    session_id = answer_headers[TOKEN.lower()]
    assert answer_headers["set-cookie"].startswith(f"{TOKEN}={session_id}; ")
    for presented in ({"token": session_id}, {"Cookie": f"{TOKEN}={session_id}"}, {"X-Jay-Tracking": session_id}):
        answer = front.request("GET", **presented)
        assert (answer.status, answer.json["session_id"]) == (200, session_id)
    assert front.request("GET", PATH.removeprefix("/v1"), token=session_id).status == 200
    assert front.request("DELETE", token=session_id).status == 204
    assert {front.request("GET", path).status for path in ("/metrics", "/livez", "/dashboard", "/")} == {404}


@pytest.mark.parametrize("start_proxy", PROXIES)
def test_the_proxies_speak_tls(launch: Launch, behind: Behind, start_proxy: Behind, tmp_path: Path) -> None:
    """The shipped TLS lines work, allow TLS 1.2 and newer, and send HSTS."""
    pair = Authority(tmp_path / "tls")
    pair.issue()
    front = behind(start_proxy, launch(), pair)
    check_old_tls_is_refused(front, pair)
    answer = front.request("GET")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"


def test_old_tls_is_refused(launch: Launch, tmp_path: Path) -> None:
    """The service itself allows TLS 1.2 and newer."""
    pair = Authority(tmp_path / "tls")
    pair.issue()
    service = launch(tls=pair.trusting(), **pair.variables)
    check_old_tls_is_refused(service, pair)


def check_old_tls_is_refused(front: Process, pair: Authority) -> None:
    """Check that TLS 1.2 works and TLS 1.1 does not."""
    tls = pair.trusting()
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    front.tls = tls
    assert front.status_of("x") == 404
    old = pair.trusting()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    front.tls = old
    with pytest.raises(OSError, match=r"(?i)protocol.version|handshake.failure|unexpected.eof"):
        front.request("GET")
    front.tls = tls


async def statuses_of_spoofed_creations(url: str) -> list[bytes]:
    answers = [await answers_of(url, ask("POST", line, "Connection: close")) for line in SPOOFED]
    return [answer[9:12] for (answer,) in answers]


async def test_without_a_proxy_forwarded_addresses_are_ignored(launch: Launch) -> None:
    """A client cannot pass a `create_limit` with addresses of its choice."""
    service = await asyncio.to_thread(launch, JAY_API_KEYS=LIMITED)
    assert await statuses_of_spoofed_creations(service.url) == [b"201"] * 2 + [b"429"] * 4


@pytest.mark.parametrize("start_proxy", PROXIES)
async def test_behind_a_proxy_forwarded_addresses_are_replaced(
    launch: Launch, behind: Behind, start_proxy: Behind
) -> None:
    """A client of a trusted proxy cannot choose its address either."""
    service = await asyncio.to_thread(launch, JAY_API_KEYS=LIMITED, JAY_SERVER__TRUSTED_PROXIES='["127.0.0.1"]')
    front = await asyncio.to_thread(behind, start_proxy, service)
    assert await statuses_of_spoofed_creations(front.url) == [b"201"] * 2 + [b"429"] * 4
    # The service believes a trusted proxy, so this test can fail.
    direct = ask("POST", "X-Forwarded-For: 203.0.113.7", "Connection: close")
    assert [answer[9:12] for answer in await answers_of(service.url, direct)] == [b"201"]


@needs_haproxy
def test_without_redis_haproxy_passes_the_answers_of_the_service(
    launch: Launch, behind: Behind, tmp_path: Path
) -> None:
    """When `/readyz` fails, pages still get the service's own 503, with its headers."""
    origin = "https://app.example.com"
    with RedisServer(binaries()["valkey"], tmp_path) as own:
        service = launch(JAY_REDIS__URL=own.url, JAY_CORS__ORIGINS=json.dumps([origin]))
        front = behind(start_haproxy, service)
        own.kill()
        eventually(lambda: any("jay/jay1 is DOWN" in line for line in front.output), "HAProxy notices the outage")
        answer = front.request("GET", token="aaaaaaaa-0000-4000-8000-000000000001", Origin=origin)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert answer.status == 503
        assert answer.json["type"] == "urn:jay:problem:store-unavailable"
        assert headers["access-control-allow-origin"] == origin
        assert headers["retry-after"]


@needs_haproxy
async def test_haproxy_closes_idle_connections_before_the_service(launch: Launch, behind: Behind) -> None:
    """HAProxy closes an idle connection long before `server.keepalive_seconds`."""
    service = await asyncio.to_thread(launch)
    front = await asyncio.to_thread(behind, start_haproxy, service)
    await answers_of(front.url, ask("GET", "Connection: close"))
    port = urlsplit(service.url).port
    started = time.monotonic()

    def open_connections() -> int:
        connections = psutil.Process(front.popen.pid).net_connections("tcp")
        return sum(one.status == "ESTABLISHED" and bool(one.raddr) and one.raddr.port == port for one in connections)

    await asyncio.to_thread(eventually, lambda: open_connections() == 0, "no idle connection", 45, 0.2)
    assert time.monotonic() - started < 45
