"""Behind a real nginx, configured with the README's own lines: cookie, header and alias, and the underscore trap."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.processes import KEY, PATH, TOKEN, Launch, Process, eventually
from tests.servers import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

Proxy = Callable[..., Process]


@pytest.fixture
def proxy(launch: Launch, project: Path, tmp_path: Path) -> Iterator[Proxy]:
    """Start the service and an nginx in front of it; `without=` leaves a line of the README's configuration out."""
    process = launch()
    readme = re.search(r"```nginx\n(.*?)```", (project / "README.md").read_text("utf-8"), re.DOTALL)
    assert readme
    servers = []

    def start(without: str = "") -> Process:
        port = free_port()
        site = readme[1].replace("127.0.0.1:8080", urlsplit(process.url).netloc)
        site = site.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        site = site.replace("/var/log/nginx/error.log", str(tmp_path / "error.log"))
        kept = [line for line in site.splitlines() if "ssl_certificate" not in line]
        site = "\n".join(line for line in kept if not without or without not in line)
        temporary = "".join(
            f"{kind}_temp_path {tmp_path / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"daemon off;\npid {tmp_path / 'nginx.pid'};\nerror_log {tmp_path / 'error.log'} warn;\n"
            f"events {{}}\nhttp {{ access_log off;\n{temporary}{site}\n}}\n"
        )
        nginx = subprocess.Popen([str(NGINX), "-c", str(config), "-p", str(tmp_path)], stderr=subprocess.DEVNULL)
        servers.append(nginx)
        front = Process(nginx, tmp_path, url=f"http://127.0.0.1:{port}")
        eventually(lambda: front.status_of("x") == 404, "nginx answers")
        return front

    yield start
    for nginx in servers:
        nginx.terminate()
        nginx.wait()


def test_the_readmes_nginx_passes_everything(proxy: Proxy) -> None:
    """Cookie, header and alias reach the service; cookie, version and problems come back."""
    front = proxy()
    created = front.request("POST")
    session_id = created.headers[TOKEN]
    assert created.status == 201
    assert created.headers["Set-Cookie"].startswith(f"{TOKEN}={session_id}; ")
    assert created.headers["Cache-Control"] == "no-store"
    for presented in ({"token": session_id}, {"Cookie": f"{TOKEN}={session_id}"}, {"X-Jay-Tracking": session_id}):
        answer = front.request("GET", **presented)
        assert (answer.status, answer.json["session_id"]) == (200, session_id)
    assert front.request("GET", PATH.removeprefix("/v1"), token=session_id).status == 200
    assert front.request("POST", X_API_Key=f"{KEY}x").json["type"] == "urn:jay:problem:unauthorized"
    assert front.request("DELETE", token=session_id).status == 204


def test_without_the_underscore_line_the_header_is_lost_and_the_alias_is_not(proxy: Proxy) -> None:
    """The trap that the README warns of is real, and so is its way out."""
    front = proxy(without="underscores_in_headers")
    session_id = front.create()
    assert front.status_of(session_id) == 404
    assert front.request("GET", X_Jay_Tracking=session_id).status == 200
    assert front.request("GET", Cookie=f"{TOKEN}={session_id}").status == 200
