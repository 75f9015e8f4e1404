"""More requests than a worker can answer: `make bench-overload`, 3 minutes.

It needs `h2load`, which reads a session in two ways. *Closed*: each connection sends
its next request when it has an answer. *Open*: 6,144 connections, three times the
length of the queue, together send three times as many requests per second as the worker
can answer. A connection has one request in progress, so with fewer connections the
queue would never be full. `h2load` sends the next request at once after 503, so it
loads the service more than a client that honors Retry-After.

The service does not read the next request of a rejected client for half a second. So a
second p99 leaves out all answers that took longer than that.
"""

import math
import re
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.processes import KEY, TOKEN, Running, create, service
from service.api.front_door.door import REST_SECONDS

CONNECTIONS = 64, 512, 1024, 2048, 4096
PEAK_CONNECTIONS, OPEN_CONNECTIONS, TIMES_PEAK = 512, 6144, 3
SECONDS, ROUNDS = 4, 5
OPEN = f"{TIMES_PEAK} times the rate of {PEAK_CONNECTIONS}"


@dataclass(frozen=True)
class Result:
    """The answers of one run in ms, and the CPU seconds of the worker."""

    accepted: list[float]
    rejected: list[float]
    cpu_seconds: float

    @property
    def reads_per_cpu_second(self) -> float:
        """The successful reads for each CPU second of the worker."""
        return len(self.accepted) / self.cpu_seconds

    def figures(self, peak: "Result") -> tuple[float, ...]:
        """Return the figures in the order of `HEADS`."""
        prompt = [one for one in self.accepted if one < REST_SECONDS * 1000]
        return (
            self.reads_per_cpu_second,
            100 * self.reads_per_cpu_second / peak.reads_per_cpu_second,
            100 * len(self.rejected) / (len(self.accepted) + len(self.rejected)),
            p99(self.accepted),
            p99(prompt),
        )


HEADS = "reads/CPU s", "% of peak", "% rejected", "p99 ms", "p99 ms, no pause"


def p99(milliseconds: list[float]) -> float:
    """Return the 99th percentile, or NaN without values."""
    return sorted(milliseconds)[len(milliseconds) * 99 // 100] if milliseconds else math.nan


def read(running: Running, session_id: str, connections: int, *options: str) -> Result:
    """Read one session over many connections."""
    headers = ("-H", f"X-API-Key: {KEY}", "-H", f"{TOKEN}: {session_id}")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-D{SECONDS}", "--log-file", str(log)]
        before = sum(running.cpu_seconds())
        subprocess.run([*command, *headers, *options, running.url], check=True, capture_output=True)
        cpu_seconds = sum(running.cpu_seconds()) - before
        # Start in µs since the epoch, status, time until the answer in µs. A request
        # without an answer has the status -1, and ends the benchmark with an error.
        answers = re.findall(r"^\d+\t(-?\d+)\t(\d+)$", log.read_text(), re.MULTILINE)
    times: dict[str, list[float]] = {"200": [], "503": []}
    for status, microseconds in answers:
        times[status].append(int(microseconds) / 1000)
    return Result(times["200"], times["503"], cpu_seconds)


def measure_round(running: Running, session_id: str) -> dict[str, Result]:
    """Return the results of each load."""
    results = {str(connections): read(running, session_id, connections) for connections in CONNECTIONS}
    rate = TIMES_PEAK * len(results[str(PEAK_CONNECTIONS)].accepted) / SECONDS
    results[OPEN] = read(running, session_id, OPEN_CONNECTIONS, f"--rps={rate / OPEN_CONNECTIONS}")
    return results


def main() -> None:
    """Run the service, measure, and print the medians of the rounds."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found: dict[str, list[tuple[float, ...]]] = {}
    with service() as running:
        session_id = create(running.url)
        read(running, session_id, PEAK_CONNECTIONS)
        memory_kib = running.memory_kib("Pss")
        for _ in range(ROUNDS):
            results = measure_round(running, session_id)
            for load, result in results.items():
                found.setdefault(load, []).append(result.figures(results[str(PEAK_CONNECTIONS)]))
        memory_kib = running.memory_kib("Pss") - memory_kib
    print(f"{'connections':>26}", *(f"{head:>16}" for head in HEADS))
    for load, rounds in found.items():
        print(f"{load:>26}", *(f"{median(column):16,.1f}" for column in zip(*rounds, strict=True)))
    print(f"The memory of the worker grew by {memory_kib / 1024:.1f} MiB.")


if __name__ == "__main__":
    main()
