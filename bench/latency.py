"""The latency of reads at a fixed rate: `make bench-latency`, 90 s.

64 visitors read a session over a connection each, first as fast as they can, which
gives the peak, and then at shares of it. A visitor's requests have fixed times. A
request waits while the one before has no answer, and its latency counts from the time
at which it was due. So a slow answer delays all requests behind it.

The visitors share the cores of the machine with the service and with Redis. So the peak
is lower than with `wrk`, and the latencies are upper bounds. Figures are medians of the
rounds.
"""

import statistics

import uvloop

from bench.processes import KEY, PATH, TOKEN, create, service
from bench.visitors import SECONDS, get, percentile_ms, visit

VISITORS = 64
ROUNDS = 5
SHARES = 0.3, 0.5, 0.7, 0.9


def main() -> None:
    """Run the service, measure and print."""
    with service() as running:
        requests = [get(PATH, **{"X-API-Key": KEY, TOKEN: create(running.url)})] * VISITORS

        def latencies(rate: float) -> list[float]:
            return uvloop.run(visit(running.url, requests, rate))

        peak = statistics.median(len(latencies(0.0)) / SECONDS for _ in range(ROUNDS))
        print(f"peak: {peak:,.0f} reads/s")
        for share in SHARES:
            rounds = [latencies(share * peak) for _ in range(ROUNDS)]
            p50, p99 = (statistics.median(percentile_ms(one, part) for one in rounds) for part in (50, 99))
            print(f"{share:4.0%} of it: p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
