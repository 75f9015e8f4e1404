"""More requests than a worker can answer: `make bench-overload`, 30 s. Needs wrk.

`wrk` reads a session over 64 connections, the usual load, and then over more. The
figures are the successful reads per second and per CPU second of the worker, the share
of 503, the time in which 99 % of the requests are answered, and the growth of the
worker's memory. `wrk` takes more CPU time for more connections. After 503, it sends the
next request at once. So it loads the service more than a client that honors
Retry-After.
"""

import re
import resource
import subprocess
from dataclasses import dataclass

from bench.processes import KEY, TOKEN, Running, create, service

CONNECTIONS = 64, 512, 1024, 2048, 4096
SECONDS = 4


@dataclass(frozen=True)
class Result:
    """The figures of one run."""

    reads: float
    rejected: float
    p99: str

    @classmethod
    def of(cls, output: str) -> "Result":
        """Read the output of wrk."""

        def number(pattern: str) -> float:
            found = re.search(pattern, output)
            return float(found[1]) if found else 0.0

        total, rejected = number(r"(\d+) requests in"), number(r"Non-2xx or 3xx responses: (\d+)")
        late = re.search(r"99%\s+(\S+)", output)
        return cls((total - rejected) / SECONDS, rejected / max(total, 1), late[1] if late else "?")


def read(running: Running, session_id: str, connections: int) -> Result:
    """Read one session over many connections."""
    headers = ("-H", f"X-API-Key: {KEY}", "-H", f"{TOKEN}: {session_id}")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *headers, running.url]
    return Result.of(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Run the service, measure and print."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with service() as running:
        session_id = create(running.url)
        read(running, session_id, CONNECTIONS[0])
        before = running.memory_kib("Pss")
        for connections in CONNECTIONS:
            cpu = sum(running.cpu_seconds())
            found = read(running, session_id, connections)
            cpu = sum(running.cpu_seconds()) - cpu
            grown = (running.memory_kib("Pss") - before) / 1024
            print(
                f"{connections:5} connections: {found.reads:8,.0f} reads/s, "
                f"{found.reads * SECONDS / cpu:8,.0f} reads/CPU s, {found.rejected:6.1%} rejected, "
                f"p99 {found.p99:>8}, memory +{grown:.1f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
