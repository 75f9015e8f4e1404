"""Programs that the shell blocks of the pages start, for a test.

Each script in `programs()` calls `main`. A program that reaches other machines,
containers or processes is replaced by one that checks its arguments against the files
of the project. All other programs run for real, against the service of the test.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.support import compose
from tests.support.processes import PROJECT, command, start_service, wait_until_ready

# Variables of the scripts: the environment of the service under test, its pid, a file
# for the statuses that curl gets, and a folder for what they write.
SERVICE, PID, STATUSES, SCRATCH = "STAGE_SERVICE", "STAGE_PID", "STAGE_STATUSES", "STAGE_SCRATCH"
_MARK = "stand-ins"  # a file in each folder with these programs

Program = Callable[[Sequence[str]], int]


def programs(folder: Path) -> None:
    """Write a script for each program into a folder."""
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    for name in _PROGRAMS:
        script = folder / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(PROJECT)!r})\n"
            "from tests.documents.stand_ins import main\nsys.exit(main(sys.argv))\n"
        )
        script.chmod(0o755)


def main(arguments: Sequence[str]) -> int:
    """Run the program that a script was called as."""
    return _PROGRAMS[Path(arguments[0]).name](arguments[1:])


def _run(*arguments: str | Path, folder: Path | None = None, **variables: str) -> int:
    environment = {**os.environ, **variables}
    return subprocess.run(list(map(str, arguments)), cwd=folder, env=environment, check=False).returncode


def _reject(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1


def _curl(arguments: Sequence[str]) -> int:
    """Run curl and record the status of the response."""
    others = [one for one in os.environ["PATH"].split(os.pathsep) if not Path(one, _MARK).exists()]
    path = os.pathsep.join(others)
    with Path(os.environ[STATUSES]).open("a", encoding="ascii") as file:
        done = subprocess.run(
            [str(shutil.which("curl", path=path)), "-w", "%{stderr}%{http_code}", *arguments],
            stderr=subprocess.PIPE,
            check=False,
        )
        file.write(f"{done.stderr.decode()[-3:]}\n")
    return done.returncode


def _jay_tracking(arguments: Sequence[str]) -> int:
    """Run the program. A server ends when it is ready, and a long test after 1 s."""
    if arguments[:1] == ["serve"]:
        return _serve()
    if "--seconds" in arguments:
        at = arguments.index("--seconds")
        arguments = [*arguments[: at + 1], "1", *arguments[at + 2 :]]
    of_the_service = json.loads(os.environ[SERVICE])
    return _run(*command(*arguments), **{name: os.environ.get(name, value) for name, value in of_the_service.items()})


def _serve() -> int:
    scratch = Path(tempfile.mkdtemp(dir=os.environ[SCRATCH]))
    environment = {
        **os.environ,
        "JAY_SERVER__PORT": "0",
        "JAY_SERVER__DRAIN_SECONDS": "0",
        "JAY_REDIS__DATA_DIR": str(scratch / "data"),
        "JAY_CONFIG": os.environ.get("JAY_CONFIG", str(Path.cwd() / "config.yaml")),
        "PYTHONPATH": str(PROJECT),
    }
    process = start_service(scratch / "serve", environment)
    wait_until_ready(process)
    return process.stop()


def _make(arguments: Sequence[str]) -> int:
    """Expand the targets without running them. CI runs them."""
    return _run("make", "--dry-run", "--directory", PROJECT, *arguments, PATH=os.defpath)


def _pytest(arguments: Sequence[str]) -> int:
    """Find the tests without running them."""
    return _run(sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments, folder=PROJECT)


def _python(arguments: Sequence[str]) -> int:
    """Run Python. A benchmark prints its help only."""
    if arguments[:1] == ["-m"] and arguments[1].startswith("bench."):
        arguments = [*arguments[:2], "--help"]
    return _run(sys.executable, *arguments, PYTHONPATH=f"{PROJECT}{os.pathsep}{PROJECT / 'clients/python/src'}")


def _pip(arguments: Sequence[str]) -> int:
    """Check that each file is there, and that a lock has each package."""
    if arguments[:1] != ["install"]:
        return _reject("only `pip install` is known")
    names = [one for one in arguments[1:] if not one.startswith("-")]
    locked = "".join(lock.read_text("utf-8") for lock in (PROJECT / "requirements").glob("*.txt"))
    for name in names:
        path = name.partition("[")[0]
        extras = re.findall(r"[\w-]+", name.partition("[")[2])
        if "/" in path or path == ".":
            project = tomllib.loads((Path(path) / "pyproject.toml").read_text("utf-8")) if Path(path).is_dir() else {}
            known = project.get("project", {}).get("optional-dependencies", {})
            if not Path(path).exists() or not set(extras) <= set(known):
                return _reject(f"{name} is not in the project")
        elif not re.search(rf"(?m)^{re.escape(path)}==", locked):
            return _reject(f"no lock has {name}")
    return 0


def _docker(arguments: Sequence[str]) -> int:
    """Let podman-compose read the file, and run the service's own commands here."""
    if arguments[:1] != ["compose"]:
        known = Path("docker-compose.yml").read_text("utf-8")
        images = [one for one in arguments if re.fullmatch(r"[\w./-]+:[\w.-]+", one) and not one.startswith("/")]
        return 0 if images and all(image in known for image in images) else _reject("Compose has no such image")
    if "cp" in arguments:  # podman-compose has no such command
        Path(arguments[-1]).touch()
        return 0
    podman_compose = compose.podman_compose(Path(os.environ[SCRATCH]) / "podman")
    done = _run(*podman_compose, *arguments[1:], PODMAN_CALLS=os.devnull)
    if done == 0 and "api" in arguments and {"run", "exec"} & set(arguments):
        own = arguments[arguments.index("api") + 1 :]
        return _jay_tracking(own[1:] if own[0] == "jay-tracking" else own)
    return done


def _pkill(arguments: Sequence[str]) -> int:
    """Send the signal to the service if the pattern matches it, and to nothing else."""
    process = psutil.Process(int(os.environ[PID]))
    line = " ".join(process.cmdline()).replace("-m service", "jay-tracking")
    if not re.search(arguments[-1], line):
        return _reject(f"{arguments[-1]} does not match {line}")
    process.send_signal(signal.Signals[f"SIG{arguments[0].removeprefix('-')}"])
    return 0


def _systemctl(arguments: Sequence[str]) -> int:
    """Check that the unit is the documented one."""
    is_known = arguments[-1:] == ["jay-tracking"] or arguments == ["daemon-reload"]
    return 0 if is_known else _reject("the unit is jay-tracking")


def _kubectl(arguments: Sequence[str]) -> int:
    """Check that the folder is an overlay, or that the manifests have each name."""
    if "-k" in arguments:
        folder = Path(arguments[arguments.index("-k") + 1])
        return 0 if (folder / "kustomization.yaml").exists() else _reject(f"{folder} is no overlay")
    manifests = "".join(file.read_text("utf-8") for file in Path("deploy/kubernetes").rglob("*.yaml"))
    names = [one.partition("/")[2] for one in arguments if re.match(r"(?:svc|deploy|deployment)/", one)]
    names += [arguments[at + 1] for at, one in enumerate(arguments) if one in {"-n", "generic"}]
    unknown = [name for name in names if not re.search(rf"name(?:space)?: {re.escape(name)}\b", manifests)]
    if unknown:
        return _reject(f"the manifests have no {unknown}")
    own = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    return _jay_tracking(own[1:]) if own[:1] == ["jay-tracking"] else 0


def _python3(arguments: Sequence[str]) -> int:
    """Make a virtual environment with these programs, or run Python."""
    if arguments[:2] == ["-m", "venv"]:
        programs(Path(arguments[2]) / "bin")
        return 0
    return _python(arguments)


def _sudo(arguments: Sequence[str]) -> int:
    return _run(*arguments)


def _is_there(arguments: Sequence[str]) -> int:
    """Check that the file in the last argument exists."""
    return 0 if Path(arguments[-1]).exists() else _reject(f"{arguments[-1]} does not exist")


def _nothing(_: Sequence[str]) -> int:
    """Change nothing: the program has no argument of ours."""
    return 0


def _certbot(arguments: Sequence[str]) -> int:
    """Run the hook."""
    return _run("/bin/sh", "-ec", arguments[arguments.index("--deploy-hook") + 1])


def _git(arguments: Sequence[str]) -> int:
    """Check that each path exists."""
    missing = [one for one in arguments[1:] if "/" in one and not (PROJECT / one).exists()]
    return _reject(f"{missing} does not exist") if missing else 0


_PROGRAMS: dict[str, Program] = {
    "certbot": _certbot,
    "certutil": _is_there,
    "curl": _curl,
    "docker": _docker,
    "editor": _is_there,
    "git": _git,
    "jay-tracking": _jay_tracking,
    "kind": _docker,
    "kubectl": _kubectl,
    "make": _make,
    "pip": _pip,
    "pkill": _pkill,
    "pytest": _pytest,
    "python": _python,
    "python3": _python3,
    "security": _is_there,
    "sudo": _sudo,
    "systemctl": _systemctl,
    "update-ca-certificates": _nothing,
}
