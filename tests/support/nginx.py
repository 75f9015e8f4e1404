"""An nginx in front of the service, with the shipped site."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.certificates import Authority
from tests.support.processes import Process
from tests.support.servers import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SHIPPED = "server 127.0.0.1:8080"
SITE = Path(__file__).parents[2] / "deploy" / "nginx" / "jay-tracking.conf"


def start_nginx(
    folder: Path, *upstreams: str, without: str = "", keepalive_timeout: str = "60s", pair: Authority | None = None
) -> Process:
    """Run nginx with the shipped site in front of the URLs `upstreams`.

    Returns when nginx answers. Only addresses and paths differ from the shipped site.
    Without the certificate of `pair`, TLS is left out. Lines that contain `without` are
    left out too. The logs are `jay.log` and `error.log` in `folder`.
    """
    listen = f"127.0.0.1:{free_port()}"
    site = SITE.read_text("utf-8")
    server = next(line for line in site.splitlines() if SHIPPED in line)
    for shipped, ours in (
        (server, "\n".join(server.replace(SHIPPED, f"server {urlsplit(url).netloc}") for url in upstreams)),
        ("listen 443 ssl;", f"listen {listen}{' ssl' if pair else ''};"),
        ("keepalive_timeout 60s;", f"keepalive_timeout {keepalive_timeout};"),
    ):
        assert site.count(shipped) == 1, shipped
        site = site.replace(shipped, ours)
    if pair:
        site = site.replace("/etc/nginx/tls/fullchain.pem", str(pair.certificate))
        site = site.replace("/etc/nginx/tls/key.pem", str(pair.key))
    kept = [
        line
        for line in site.splitlines()
        if (pair or "ssl_certificate" not in line) and (not without or without not in line)
    ]
    return start_site(folder, "\n".join(kept), listen, pair)


def main_config(folder: Path, site: str, error_log: str) -> str:
    """Return the main configuration around a site. All files are in `folder`."""
    temporary = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\nmaster_process off;\npid {folder / 'nginx.pid'};\nerror_log {folder / error_log} warn;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}{site}\n}}\n"
    )


def start_site(folder: Path, site: str, listen: str, pair: Authority | None = None) -> Process:
    """Run nginx with a site that listens on an address. Returns when nginx answers.

    Only the places of the logs differ from the site.
    """
    folder.mkdir(exist_ok=True)
    assert site.count("/var/log/nginx/") == 2  # the access log and the error log
    site = site.replace("/var/log/nginx/", f"{folder}/")
    config = folder / "nginx.conf"
    config.write_text(main_config(folder, site, "error.log"))
    nginx = subprocess.Popen([str(NGINX), "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    scheme, trusting = ("https", pair.trusting()) if pair else ("http", None)
    return Process(nginx, folder, trusting, f"{scheme}://{listen}").in_front("nginx")
