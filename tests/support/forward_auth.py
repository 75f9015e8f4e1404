"""The shipped proxies that use forward-auth, and an application that echoes."""

import http.server
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.caddy import CADDIES
from tests.support.envoy import ENVOY, envoy_command
from tests.support.haproxy import HAPROXY
from tests.support.http_servers import serving
from tests.support.nginx import NGINX, main_config
from tests.support.processes import Process, eventually
from tests.support.recipes import PROXY_KEY, RECIPES, replaced
from tests.support.servers import free_port
from tests.support.traefik import TRAEFIK, traefik_command

PROGRAMS = {
    "nginx": NGINX,
    "haproxy": HAPROXY,
    # Older versions fail on `header_up -*`, or cannot add a field to the log.
    "caddy": next((program for version, program in CADDIES.items() if version >= (2, 11)), None),
    "traefik": TRAEFIK,
    "envoy": ENVOY,
}


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers every request with its headers and the size of its body as JSON."""

    def _answer(self) -> None:
        received = len(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        body = json.dumps([*self.headers.items(), ("Received-Bytes", str(received))]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name: str) -> object:
        """Return the method for any HTTP method, which the base class looks up."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def application() -> AbstractContextManager[int]:
    """Run the application while the context is open, which is its port."""
    return serving(_Echo)


def _nginx(folder: Path, jay: str, application_port: int, port: int) -> list[str]:
    site = replaced(
        "nginx.conf",
        {
            "127.0.0.1:8080": jay,
            "127.0.0.1:3000": f"127.0.0.1:{application_port}",
            "listen 443 ssl;": f"listen 127.0.0.1:{port};",
            "    ssl_certificate     /etc/nginx/tls/fullchain.pem;\n": "",
            "    ssl_certificate_key /etc/nginx/tls/key.pem;\n": "",
            "/var/cache/nginx/jay": str(folder / "cache"),
            "/var/log/nginx/": f"{folder}/",
            "your-key-with-the-scope-validate": PROXY_KEY,
        },
    )
    config = folder / "nginx-main.conf"
    config.write_text(main_config(folder, site, "main.log"))
    return [str(NGINX), "-c", str(config), "-p", str(folder)]


def _haproxy(folder: Path, jay: str, application_port: int, port: int) -> list[str]:
    config = folder / "haproxy.cfg"
    config.write_text(
        replaced(
            "haproxy.cfg",
            {
                "127.0.0.1:8080": jay,
                "127.0.0.1:3000": f"127.0.0.1:{application_port}",
                "bind :443 ssl crt /etc/haproxy/tls/": f"bind 127.0.0.1:{port}",
                "127.0.0.1:8404": f"127.0.0.1:{free_port()}",
                "/etc/haproxy/forward_auth.lua": str(RECIPES / "forward_auth.lua"),
                "your-key-with-the-scope-validate": PROXY_KEY,
            },
        )
    )
    return [str(HAPROXY), "-db", "-f", str(config)]


def _caddy(folder: Path, jay: str, application_port: int, port: int) -> list[str]:
    config = folder / "Caddyfile"
    site = replaced(
        "Caddyfile",
        {
            "127.0.0.1:8080": jay,
            "127.0.0.1:3000": f"127.0.0.1:{application_port}",
            "www.example.com {": f"http://127.0.0.1:{port} {{",
            "/var/log/caddy/": f"{folder}/",
            "your-key-with-the-scope-validate": PROXY_KEY,
        },
    )
    config.write_text(f"{{\n\tadmin off\n\tpersist_config off\n}}\n{site}")
    return [str(PROGRAMS["caddy"]), "run", "--adapter", "caddyfile", "--config", str(config)]


_COMMANDS = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "caddy": _caddy,
    "traefik": traefik_command,
    "envoy": envoy_command,
}


@contextmanager
def proxy(
    kind: str, folder: Path, jay_url: str, application_port: int, *, is_patient: bool = False
) -> Iterator[Process]:
    """Run a shipped proxy in front of the application, with other addresses.

    A patient nginx waits for the service for seconds, because a machine that runs tests
    may stall for more than the shipped 50 ms.
    """
    folder.mkdir()
    port = free_port()
    command = _COMMANDS[kind](folder, urlsplit(jay_url).netloc, application_port, port)
    if is_patient:
        config = folder / "nginx-main.conf"
        config.write_text(re.sub(r"(_timeout +)[23]0ms;", r"\1 10s;", config.read_text()))
    with (folder / "stdout").open("wb") as output, (folder / "stderr").open("wb") as errors:
        popen = subprocess.Popen(command, stdout=output, stderr=errors, env={**os.environ, "HOME": str(folder)})
    front = Process(popen, folder, url=f"http://127.0.0.1:{port}")
    try:
        eventually(lambda: front.status_of("x") == 200, f"{kind} answers")
        yield front
    finally:
        popen.terminate()
        popen.wait()


def access_log(kind: str, front: Process) -> str:
    """Return the access log of a proxy."""
    return "\n".join(front.output) if kind in {"haproxy", "envoy"} else (front.folder / "access.log").read_text()
