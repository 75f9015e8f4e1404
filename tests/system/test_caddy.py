"""deploy/caddy: the service behind a real Caddy, and the profile `edge` of Compose."""

import json
import re
import ssl
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from service.api_keys import hash_key
from service.config.loading import load
from service.config.settings import ServerSettings
from tests.support.caddy import CADDIES, FOLDER, start_caddy
from tests.support.processes import KEY, PATH, TOKEN, Launch, Process

LIMITED = {"name": "demo", "sha256": hash_key(KEY), "scopes": ["track"], "create_limit": "2/hour"}


@pytest.fixture(params=CADDIES or [None], ids=lambda version: version and ".".join(map(str, version)))
def program(request: pytest.FixtureRequest) -> str:
    """Return each installed Caddy."""
    if request.param is None:
        pytest.skip("caddy is not installed")
    return CADDIES[request.param]


@pytest.fixture
def service(launch: Launch) -> Process:
    """Run the service, with Caddy as a trusted proxy."""
    return launch(JAY_SERVER__TRUSTED_PROXIES='["127.0.0.1"]', JAY_API_KEYS=json.dumps([LIMITED]))


@pytest.fixture
def front(program: str, service: Process, tmp_path: Path) -> Iterator[Process]:
    """Run Caddy in front of the service."""
    front = start_caddy(program, tmp_path / "caddy", service.url)
    yield front
    front.stop()


def test_a_session_goes_on_by_cookie_and_by_header(front: Process) -> None:
    """Caddy serves HTTPS with its own authority, and cookie and headers pass."""
    created = front.request("POST")
    # Go writes the header's name as __Secure-Jay_tracking, which is the same name.
    session_id = {name.lower(): value for name, value in created.headers.items()}[TOKEN.lower()]
    assert created.status == 201
    cookie, *attributes = created.headers["Set-Cookie"].split("; ")
    assert cookie == f"{TOKEN}={session_id}"
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert "Strict-Transport-Security" not in created.headers
    for presented in ({"Cookie": cookie}, {"token": session_id}, {"X-Jay-Tracking": session_id}):
        answer = front.request("GET", **presented)
        assert (answer.status, answer.json["session_id"]) == (200, session_id)
    assert front.request("GET", "/docs").status == 200
    assert front.request("DELETE", Cookie=cookie).status == 204


def test_only_clients_that_trust_the_authority_connect(front: Process) -> None:
    """The certificate is from no authority that a machine trusts."""
    front.tls = ssl.create_default_context()
    with pytest.raises(OSError, match="certificate verify failed"):
        front.request("GET")


def test_a_client_cannot_choose_its_address(front: Process, service: Process) -> None:
    """The service counts by the address that Caddy saw, not by a forwarded one."""
    spoofed = [{"X-Forwarded-For": "1.1.1.1"}, {"Forwarded": "for=2.2.2.2"}, {"X-Forwarded-For": "3.3.3.3, 4.4.4.4"}]
    assert [front.request("POST", **one).status for one in spoofed] == [201, 201, 429]
    # The service believes a trusted proxy, so this test can fail.
    assert service.request("POST", X_Forwarded_For="5.5.5.5").status == 201


def test_refusals_of_the_service_pass_unchanged(front: Process) -> None:
    """The service's own 429 passes with problem document and Retry-After."""
    answers = [front.request("POST") for _ in range(3)]
    assert answers[-1].status == 429
    assert answers[-1].json["type"] == "urn:jay:problem:too-many-requests"
    assert int(answers[-1].headers["Retry-After"]) > 1000


def test_caddy_contacts_nobody_and_logs_no_request(front: Process, service: Process) -> None:
    """Caddy connects to the service only, and an outage logs no id, key or path."""
    session_id = "aaaaaaaa-0000-4000-8000-000000000001"
    front.request("GET", token=session_id)
    peers = {one.raddr.ip for one in psutil.Process(front.popen.pid).net_connections() if one.raddr}
    assert peers <= {"127.0.0.1", "::1"}
    service.stop()
    answer = front.request("GET", f"{PATH}?user=someone", token=session_id, Cookie=f"{TOKEN}={session_id}")
    assert answer.status == 502
    logged = "\n".join([*front.log, *front.output])
    assert "serving initial configuration" in logged
    assert not {one for one in (session_id, KEY, PATH, "someone") if one in logged}


@pytest.fixture
def edge(project: Path) -> dict[str, Any]:
    """Return the service of the profile `edge`."""
    services = yaml.safe_load((project / "docker-compose.yml").read_text("utf-8"))["services"]
    (edge,) = [one for one in services.values() if one.get("profiles") == ["edge"]]
    return dict(edge)


def test_the_profile_runs_the_shipped_file(project: Path, edge: dict[str, Any]) -> None:
    """The profile mounts the file, and both name the service and its port."""
    content = yaml.safe_load((project / "docker-compose.yml").read_text("utf-8"))
    mounts = dict(volume.split(":")[:2] for volume in edge["volumes"])
    assert (project / "deploy/caddy/Caddyfile").samefile(project / next(one for one in mounts if "/" in one))
    assert mounts["caddy-data"] == "/data"
    assert "caddy-data" in content["volumes"]
    site = (FOLDER / "Caddyfile").read_text("utf-8")
    (host, variable, port) = re.findall(r"reverse_proxy (\w+):\{\$(\w+):(\d+)\}", site)[0]
    assert host in content["services"]
    assert edge["depends_on"] == [host]
    assert edge["environment"] == {variable: f"${{{variable}:-{port}}}"}
    assert edge["ports"] == ["127.0.0.1:${JAY_EDGE_PORT:-443}:443"]


def test_the_profile_is_as_hardened_as_the_service(project: Path, edge: dict[str, Any]) -> None:
    """The container has a version, a read-only file system and one capability."""
    api = yaml.safe_load((project / "docker-compose.yml").read_text("utf-8"))["services"]["api"]
    for name in ("read_only", "cap_drop", "security_opt", "restart"):
        assert edge[name] == api[name], name
    assert edge["cap_add"] == ["NET_BIND_SERVICE"]
    assert set(edge["tmpfs"]) == {"/config", "/tmp"}  # noqa: S108 - in the container
    assert re.search(r":-[\w./]+:\d+\.\d+\.\d+\}$", edge["image"])


def test_caddy_closes_idle_connections_before_the_service() -> None:
    """Caddy keeps an idle connection shorter than the service."""
    (seconds,) = re.findall(r"^\s+keepalive (\d+)s$", (FOLDER / "Caddyfile").read_text("utf-8"), re.MULTILINE)
    assert int(seconds) < ServerSettings().keepalive_seconds


def test_the_documented_networks_are_a_setting(tmp_path: Path) -> None:
    """The service accepts the line of the README, and all networks are private."""
    ((name, value),) = re.findall(
        r"^ *(JAY_SERVER__TRUSTED_PROXIES)='(.*)'$", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE
    )
    (tmp_path / "config.yaml").write_text("{}")
    networks = load({name: value}, tmp_path / "config.yaml").settings.server.trusted_proxies
    assert networks
    assert all(ip_network(one).is_private for one in networks)
