"""An nginx in front of the service, with the shipped site."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.processes import Process, eventually
from tests.support.servers import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SHIPPED = "server 127.0.0.1:8080"
SITE = Path(__file__).parents[2] / "deploy" / "nginx" / "jay-tracking.conf"


def start_nginx(folder: Path, *upstreams: str, without: str = "", keepalive_timeout: str = "60s") -> Process:
    """Run nginx with the shipped site in front of the URLs `upstreams`.

    Returns when nginx answers. Only addresses differ from the shipped site, and TLS is
    left out. Lines that contain `without` are left out too.
    """
    folder.mkdir(exist_ok=True)
    port = free_port()
    site = SITE.read_text("utf-8")
    server = next(line for line in site.splitlines() if SHIPPED in line)
    for shipped, ours in (
        (server, "\n".join(server.replace(SHIPPED, f"server {urlsplit(url).netloc}") for url in upstreams)),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("/var/log/nginx/error.log", str(folder / "error.log")),
        ("keepalive_timeout 60s;", f"keepalive_timeout {keepalive_timeout};"),
    ):
        assert site.count(shipped) == 1, shipped
        site = site.replace(shipped, ours)
    kept = [
        line for line in site.splitlines() if "ssl_certificate" not in line and (not without or without not in line)
    ]
    temporary = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {folder / 'nginx.pid'};\nerror_log {folder / 'error.log'} warn;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}" + "\n".join(kept) + "\n}\n"
    )
    nginx = subprocess.Popen([str(NGINX), "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    front = Process(nginx, folder, url=f"http://127.0.0.1:{port}")
    eventually(lambda: front.status_of("x") == 404, "nginx answers")
    return front
