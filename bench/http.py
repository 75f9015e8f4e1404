"""CPU time per request, compared with aiohttp's hello world: `make bench`.

Needs `wrk`. It opens 64 connections to one worker. The figure is the CPU time of the
worker process, user and system. Rounds of all servers alternate, so that a change in
the machine's speed affects all, and the ratio of the medians is the result.
"""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.processes import KEY, TOKEN, Running, create, hello, service
from service.api.wire import FORWARD_AUTH_PATHS, SESSION_PATHS
from service.api_keys import DEMO_OPERATOR_KEY

ROUNDS = 15
SECONDS = 1
CONNECTIONS = 64
QUIET = "GET without metrics or log"
FORWARD_AUTH = "forward-auth"


def microseconds_per_request(server: Running, url: str, *options: str) -> float:
    """Load `url` for `SECONDS` and return the server's CPU time per request, in µs."""
    before = sum(server.cpu_seconds())
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *options, url]
    output = subprocess.run(wrk, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in output, output
    found = re.search(r"(\d+) requests in", output)
    assert found, output
    return (sum(server.cpu_seconds()) - before) / int(found[1]) * 1e6


def main() -> None:
    """Measure and print."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")
    figures: dict[str, list[float]] = {"hello": [], "GET": [], FORWARD_AUTH: [], QUIET: [], "POST": []}
    off = {"JAY_METRICS__ENABLED": "false", "JAY_LOG__LEVEL": "warning"}
    with (
        tempfile.TemporaryDirectory() as folder,
        hello() as plain,
        service() as jay,
        service(**off) as quiet,
        # This service is separate, because the sessions of POST fill its memory.
        service() as posted,
    ):
        script = Path(folder) / "post.lua"
        script.write_text('wrk.method = "POST"\n')
        key = ("-H", f"X-API-Key: {KEY}")
        cookies = {server.url: ("-H", f"Cookie: {TOKEN}={create(server.url)}") for server in (jay, quiet)}
        for _ in range(ROUNDS):
            figures["hello"].append(microseconds_per_request(plain, plain.url))
            for name, server in (("GET", jay), (QUIET, quiet)):
                figures[name].append(microseconds_per_request(server, server.url, *key, *cookies[server.url]))
            url = jay.url.removesuffix(SESSION_PATHS[0]) + FORWARD_AUTH_PATHS[0]
            proxy_key = ("-H", f"X-API-Key: {DEMO_OPERATOR_KEY}")
            figures[FORWARD_AUTH].append(microseconds_per_request(jay, url, *proxy_key, *cookies[jay.url]))
            figures["POST"].append(microseconds_per_request(posted, posted.url, *key, "-s", str(script)))
    base = statistics.median(figures["hello"])
    print(f"{CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s each, CPU time of the worker per request")
    for name, values in figures.items():
        middle = statistics.median(values)
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"{name:26} {middle:6.1f} µs  ({spread})  {middle / base:.2f} times hello")
    pairs = zip(figures["GET"], figures[QUIET], strict=True)
    cost = statistics.median(with_both / without - 1 for with_both, without in pairs)
    print(f"metrics and log: {cost:.1%} of a GET without them")


if __name__ == "__main__":
    main()
