"""An nginx in front of the service, with the shipped site."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.processes import Process, eventually
from tests.support.servers import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SITE = Path(__file__).parents[2] / "deploy" / "nginx" / "jay-tracking.conf"


def start_nginx(folder: Path, upstream: str, *, without: str = "", keepalive_timeout: str = "60s") -> Process:
    """Run nginx with the shipped site in front of the URL `upstream`.

    Returns when nginx answers. Only addresses differ from the shipped site, and TLS is
    left out. Lines that contain `without` are left out too.
    """
    listen = f"127.0.0.1:{free_port()}"
    site = SITE.read_text("utf-8")
    for shipped, ours in (
        ("127.0.0.1:8080", urlsplit(upstream).netloc),
        ("listen 443 ssl;", f"listen {listen};"),
        ("keepalive_timeout 60s;", f"keepalive_timeout {keepalive_timeout};"),
    ):
        assert site.count(shipped) == 1, shipped
        site = site.replace(shipped, ours)
    kept = [
        line for line in site.splitlines() if "ssl_certificate" not in line and (not without or without not in line)
    ]
    return start_site(folder, "\n".join(kept), listen)


def start_site(folder: Path, site: str, listen: str) -> Process:
    """Run nginx with a site that listens on an address. Returns when nginx answers.

    Only the place of the error log differs from the site.
    """
    folder.mkdir(exist_ok=True)
    assert site.count("/var/log/nginx/error.log") == 1
    site = site.replace("/var/log/nginx/error.log", str(folder / "error.log"))
    temporary = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {folder / 'nginx.pid'};\nerror_log {folder / 'error.log'} warn;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}{site}\n}}\n"
    )
    nginx = subprocess.Popen([str(NGINX), "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    front = Process(nginx, folder, url=f"http://{listen}")
    eventually(lambda: front.status_of("x") == 404, "nginx answers")
    return front
