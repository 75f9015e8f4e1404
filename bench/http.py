"""CPU time per request against aiohttp's hello world, both in one run: `make bench`.

Needs `wrk`. 64 connections, one worker; the CPU time of the worker process alone, user and system. Rounds
alternate, so that a machine whose speed drifts slows both; the medians' ratio is the figure.
"""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.processes import KEY, TOKEN, Running, create, hello, service

ROUNDS = 7
SECONDS = 2
CONNECTIONS = 64


def microseconds_per_request(server: Running, url: str, *options: str) -> float:
    """Load `url` for some seconds; return the server's CPU time per request."""
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
    figures: dict[str, list[float]] = {"hello": [], "GET": [], "POST": []}
    with tempfile.TemporaryDirectory() as folder, hello() as plain, service() as jay:
        script = Path(folder) / "post.lua"
        script.write_text('wrk.method = "POST"\n')
        key = ("-H", f"X-API-Key: {KEY}")
        cookie = ("-H", f"Cookie: {TOKEN}={create(jay.url)}")
        for _ in range(ROUNDS):
            figures["hello"].append(microseconds_per_request(plain, plain.url))
            figures["GET"].append(microseconds_per_request(jay, jay.url, *key, *cookie))
            figures["POST"].append(microseconds_per_request(jay, jay.url, *key, "-s", str(script)))
    base = statistics.median(figures["hello"])
    print(f"{CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s each, CPU time of the worker per request")
    for name, values in figures.items():
        middle = statistics.median(values)
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"{name:6} {middle:6.1f} µs  ({spread})  {middle / base:.2f} times hello")


if __name__ == "__main__":
    main()
