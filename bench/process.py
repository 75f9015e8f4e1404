"""Time to ready, idle memory, and answers while Redis hangs or is dead.

`make bench-process` runs it.
"""

import os
import signal
import statistics
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.processes import KEY, TOKEN, Running, child_of, create, service

STARTS = 5
REQUESTS = 15


def answer(server: Running, session_id: str) -> tuple[int, float]:
    """Read a session and return the status and the time in ms."""
    request = urllib.request.Request(server.url, headers={"X-API-Key": KEY, TOKEN: session_id})  # noqa: S310
    started = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    return status, (time.perf_counter() - started) * 1000


def summary(server: Running, session_id: str) -> str:
    """Send requests one after another and return their statuses and times."""
    answers = []
    for _ in range(REQUESTS):
        answers.append(answer(server, session_id))
        time.sleep(0.1)  # the pace of the requests
    times = [ms for _, ms in answers]
    statuses = {status for status, _ in answers}
    return f"{statuses}, median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms"


def seconds_until_served(server: Running, session_id: str) -> float:
    """Return the seconds until a read answers 200."""
    started = time.monotonic()
    while answer(server, session_id)[0] != 200:  # noqa: PLR2004
        time.sleep(0.005)
    return time.monotonic() - started


def main() -> None:
    """Measure and print."""
    starts = []
    for _ in range(STARTS):
        with service() as jay:
            starts.append(jay.seconds_to_ready)
            memory = jay.memory_kib("Rss"), jay.memory_kib("Pss")
    print(f"start to ready: median {statistics.median(starts):.2f} s, longest {max(starts):.2f} s")
    print(f"idle worker: {memory[0] / 1024:.1f} MB resident (RSS), {memory[1] / 1024:.1f} MB proportional (PSS)")
    with service() as jay:
        session_id = create(jay.url)
        valkey = child_of(jay.popen.pid, "valkey")
        os.kill(valkey, signal.SIGSTOP)
        print(f"Redis hung: {summary(jay, session_id)}")
        os.kill(valkey, signal.SIGCONT)
        print(f"recovered after {seconds_until_served(jay, session_id):.2f} s")
        # A stopped supervisor does not restart the server.
        os.kill(jay.popen.pid, signal.SIGSTOP)
        os.kill(valkey, signal.SIGKILL)
        while Path(f"/proc/{valkey}/exe").exists():
            time.sleep(0.001)
        print(f"Redis killed: {summary(jay, session_id)}")
        os.kill(jay.popen.pid, signal.SIGCONT)
        print(f"recovered after {seconds_until_served(jay, session_id):.2f} s, a new server included")


if __name__ == "__main__":
    main()
