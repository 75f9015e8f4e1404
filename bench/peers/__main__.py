"""Options and the order of events of `make bench-peers`.

A round starts all systems with fresh processes. Each cell, a workload with a number of
connections, then runs on one system after the other. The order shifts with each cell.
"""

import argparse
import json
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench.peers.figures import Memory, Sample, report
from bench.peers.measure import WARM_UP_CONNECTIONS, Cpus, Instance, started
from bench.peers.requests import WORKLOADS
from bench.peers.systems import PROJECT, SYSTEMS, System

IDLE_LIMITS = 1000, 10_000


def some_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a converter that splits at commas and checks the names."""

    def names(value: str) -> list[str]:
        given = value.split(",")
        if unknown := set(given).difference(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is unknown. Choose from {', '.join(known)}.")
        return given

    return names


def numbers(value: str) -> list[int]:
    """Split at commas."""
    return [int(word) for word in value.split(",")]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench.peers", description="Measure this service beside its peers.")
    known = [system.name for system in SYSTEMS]
    parser.add_argument("--only", type=some_of(known), default=known, metavar="NAME,…", help=", ".join(known))
    parser.add_argument("--rounds", type=int, default=5, help="times that everything is measured (5)")
    parser.add_argument("--seconds", type=int, default=2, help="length of one run (2)")
    parser.add_argument("--connections", type=numbers, default=[1, 64, 512], metavar="N,…", help="1,64,512")
    parser.add_argument(
        "--workloads", type=some_of(WORKLOADS), default=[*WORKLOADS], metavar="NAME,…", help=", ".join(WORKLOADS)
    )
    parser.add_argument(
        "--sessions", type=int, default=50_000, help="for the memory of a session, 0 for none (50000)"
    )
    parser.add_argument("--idle", type=int, default=5000, help="idle connections, 1000 to 10000, 0 for none (5000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for all figures, which the chart reads")
    given = parser.parse_args()
    if min(given.rounds, given.seconds, *given.connections) < 1 or given.sessions < 0:
        parser.error("--rounds, --seconds and --connections are at least 1")
    if given.idle and not IDLE_LIMITS[0] <= given.idle <= IDLE_LIMITS[1]:
        parser.error("--idle is 0, or from 1000 to 10000")
    return given


@dataclass
class Run:
    """Everything that a run needs and finds."""

    given: argparse.Namespace
    redis: str
    cpus: Cpus
    samples: list[Sample] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)


def redis_server() -> str:
    """Return the program of Redis. Exit when it or wrk is missing."""
    programs = {name: shutil.which(name) for name in ("wrk", "redis-server")}
    if missing := [name for name, path in programs.items() if path is None]:
        sys.exit(f"{' and '.join(missing)} not found: apt-get install {' '.join(missing)}")
    return str(programs["redis-server"])


def measure_round(given: argparse.Namespace, instances: list[Instance], number: int) -> list[Sample]:
    """Measure each cell on all systems in turn."""
    samples = []
    cells = [(workload, count) for workload in given.workloads for count in given.connections]
    for index, (workload, connections) in enumerate(cells):
        able = [one for one in instances if workload in one.system.workloads]
        shift = (number + index) % max(1, len(able))
        for instance in able[shift:] + able[:shift]:
            sample = replace(instance.load(workload, connections, given.seconds), round=number)
            samples.append(sample)
            costs = f"{sample.service_us:.1f} + {sample.redis_us:.1f} µs"
            say(f"round {number}, {workload}, {connections} connections, {instance.system.name}: {costs}")
    return samples


def run_round(run: Run, systems: list[System], number: int) -> None:
    """Start all systems, measure idle connections, warm up, and measure all cells."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-peers-")))
        instances = []
        for system in systems:
            say(f"round {number}: starting {system.name}")
            instance = stack.enter_context(started(system, scratch / system.name, run.cpus, run.redis))
            instance.prepare()
            instances.append(instance)
            if run.given.idle:
                size = instance.bytes_per_connection(run.given.idle)
                run.memory.append(Memory(system.name, "connection", size, number))
            instance.load("mixed" if system.stores_sessions else "get-cookie", WARM_UP_CONNECTIONS, run.given.seconds)
        run.samples += measure_round(run.given, instances, number)


def measure_sessions(run: Run, systems: list[System]) -> None:
    """Measure the memory of sessions in Redis. It does not differ between rounds."""
    for system in systems:
        if system.stores_sessions:
            say(f"memory of sessions: {system.name}")
            with (
                tempfile.TemporaryDirectory(prefix="bench-peers-") as folder,
                started(system, Path(folder) / system.name, run.cpus, run.redis) as instance,
            ):
                for kind, users_among in (("guest", 0), ("user", 1)):
                    size = instance.bytes_per_session(run.given.sessions, users_among)
                    run.memory.append(Memory(system.name, kind, size))


def about(redis: str) -> dict[str, str]:
    """Describe the machine and its programs."""
    commands = {"redis": (redis, "--version"), "node": ("node", "--version"), "go": ("go", "version")}
    versions = {
        name: subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        for name, command in commands.items()
        if shutil.which(command[0])
    }
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": processor[1] if processor else platform.machine(),
        "python": platform.python_version(),
        **versions,
    }


def save(run: Run, titles: dict[str, str]) -> None:
    """Write the figures so far. An interrupt loses only its round."""
    if run.given.json:
        rows = {"samples": [asdict(one) for one in run.samples], "memory": [asdict(one) for one in run.memory]}
        content = {"about": about(run.redis), "systems": titles, **rows}
        run.given.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def say(line: str) -> None:
    """Report progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    given = options()
    run = Run(given, redis_server(), Cpus.choose())
    chosen = [system for system in SYSTEMS if system.name in given.only]
    systems = [system for system in chosen if not system.missing()]
    titles = {system.name: system.title for system in systems}
    # A shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    # Servers inherit the limit of open files, and each idle connection needs one.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        for number in range(1, given.rounds + 1):
            run_round(run, systems, number)
            save(run, titles)
        if given.sessions:
            measure_sessions(run, systems)
            save(run, titles)
    except KeyboardInterrupt:
        sys.exit("interrupted: all started processes have ended")
    print(report(run.samples, run.memory, titles, PROJECT))
    for system in chosen:
        if system not in systems:
            print(f"Left out: {system.title}, because {system.missing()}")


if __name__ == "__main__":
    main()
