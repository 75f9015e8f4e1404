"""The time that a validated session adds to a request: `make bench-validation`, 2 min.

16 visitors with a session each send requests at a fixed rate to an application. The
ways take turns in each round, and figures are medians over the rounds:

nginx              a proxy without forward-auth, as the base.
nginx, cached      the shipped site with forward-auth. Answers are kept for 5 s.
nginx, asked       the same with `baggage`, so that each request asks the service.
aiohttp            an application without middleware, as the base.
aiohttp, cached    the middleware of the Python client with a cache of 5 s.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop

from bench.processes import KEY, PATH, ROOT, TOKEN, create, service
from bench.visitors import get, percentile_ms, visit
from service.api_keys import hash_key
from tests.support.forward_auth import proxy
from tests.support.nginx import start_site
from tests.support.recipes import PROXY_KEY
from tests.support.servers import free_port

VISITORS = 16
RATE_OF_NGINX, RATE_OF_AIOHTTP = 400.0, 1000.0
ROUNDS = 7
KEYS = [
    {"name": "demo", "sha256": hash_key(KEY), "scopes": ["track"]},
    {"name": "proxy", "sha256": hash_key(PROXY_KEY), "scopes": ["validate"]},
]
# A site without forward-auth, by directive.
PLAIN_SITE = {
    "access_log": "/var/log/nginx/access.log",
    "error_log": "/var/log/nginx/error.log crit",
}
APPLICATION = """
import socket, sys
from aiohttp import web
from jay_tracking_client.aio import TrackingClient
from jay_tracking_client.middleware.aiohttp import session_middleware
from jay_tracking_client.middleware.guard import Guard
from jay_tracking_client.options import Options

async def answer(request):
    return web.Response(text="ok")

async def make_app():
    app = web.Application()
    if len(sys.argv) > 1:
        client = TrackingClient(sys.argv[1], sys.argv[2], Options(cache_seconds=5))
        app.middlewares.append(session_middleware(client, Guard(require_session=True)))
        app.on_cleanup.append(lambda _: client.close())
    app.router.add_get("/{path:.*}", answer)
    return app

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
web.run_app(make_app(), sock=listener, print=None, access_log=None)
"""


@contextmanager
def application(*arguments: str) -> Iterator[str]:
    """Run the application, with the middleware if there are arguments."""
    popen = subprocess.Popen(
        [sys.executable, "-c", APPLICATION, *arguments],
        env={"PYTHONPATH": str(ROOT / "clients/python/src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert popen.stdout
        yield f"http://127.0.0.1:{int(popen.stdout.readline())}"
    finally:
        popen.terminate()
        popen.wait()


def measure(ways: dict[str, tuple[str, list[bytes]]], rate: float) -> None:
    """Print the percentiles of each way, and their difference from the first one."""
    rounds: dict[str, list[list[float]]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            url, requests = ways[name]
            rounds[name].append(uvloop.run(visit(url, requests, rate)))
    base = next(iter(ways))
    for name in rounds:
        figures = []
        for part in (50, 99):
            own, others = ([percentile_ms(one, part) for one in rounds[which]] for which in (name, base))
            more = statistics.median(one - other for one, other in zip(own, others, strict=True))
            figures.append(f"p{part} {statistics.median(own):5.2f} ms ({more:+.2f})")
        print(f"{name:16} {', '.join(figures)}", flush=True)


def main() -> None:
    """Run all processes, measure and print."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(service(JAY_API_KEYS=json.dumps(KEYS)))
        jay, echo = running.url.removesuffix(PATH), stack.enter_context(application())
        listen = f"127.0.0.1:{free_port()}"
        directives = "".join(f"{name} {value};" for name, value in (PLAIN_SITE | {"listen": listen}).items())
        site = f"server {{ {directives} location = / {{ proxy_pass {echo}; }} }}"
        plain = start_site(folder / "plain", site, listen)
        stack.callback(plain.popen.wait)
        stack.callback(plain.popen.terminate)
        asking = stack.enter_context(proxy("nginx", folder / "asking", jay, int(echo.rpartition(":")[2])))
        ids = [create(running.url) for _ in range(VISITORS)]
        cookies = [get("/", Cookie=f"{TOKEN}={one}") for one in ids]
        measure(
            {
                "nginx": (plain.url, cookies),
                "nginx, cached": (asking.url, cookies),
                "nginx, asked": (asking.url, [get("/", Cookie=f"{TOKEN}={one}", baggage="a=b") for one in ids]),
            },
            RATE_OF_NGINX,
        )
        headers = [get("/", **{"X-Jay-Tracking": one}) for one in ids]
        measure(
            {
                "aiohttp": (stack.enter_context(application()), headers),
                "aiohttp, cached": (stack.enter_context(application(jay, PROXY_KEY)), headers),
            },
            RATE_OF_AIOHTTP,
        )


if __name__ == "__main__":
    main()
