"""Every command on terminals of any encoding, and on closed or full streams."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from service.api.handlers.openapi import openapi_yaml
from tests.support.processes import PATH, Launch, command

USER = "é…😀"
# For every command a call that succeeds against a service, and one that fails. `demo`
# runs before them, because it needs a Redis without sessions.
SUCCESSES = (
    ("counts",),
    ("counts", "--json"),
    ("counts", "--csv"),
    ("users", "show", USER),
    ("users", "export", USER),
    ("users", "erase", USER, "--yes"),
    ("torture", "--seconds", "1", "--rate", "50"),
    ("check-config",),
    ("healthcheck",),
    ("keys", "new", "tv", "--scope", "validate"),
    ("openapi",),
    ("openapi", "--json"),
    ("--help",),
    ("counts", "--help"),
)
FAILURES = (
    ("counts", "--source", USER),
    ("users", "erase", USER),
    ("users", "show", ""),
    ("keys", "new", USER),
    ("counts", "--url", f"http://{USER}"),
    ("healthcheck", "--url", USER),
    ("check-config", "--config", f"{USER}.yaml"),
    ("serve", "--config", f"{USER}.yaml"),
    ("demo", "--sessions", USER),
    ("torture", "--seconds", USER),
    ("torture", "--url", "http://127.0.0.1:1"),
    ("doctor", "--url", "http://127.0.0.1:1", "--no-redis"),
    (USER,),
)
# Encodings of PYTHONIOENCODING, and that of the locale without Python's UTF-8 mode.
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "posix": {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_ends_a_command_in_a_traceback(
    encoding: str, launch: Launch, environment: dict[str, str], tmp_path: Path
) -> None:
    """Characters that the encoding lacks are escaped, with the same exit status."""
    folder = str(tmp_path / ("data" if encoding == "posix" else "é"))
    process = launch(JAY_REDIS__DATA_DIR=folder, **ENCODINGS[encoding])
    body = json.dumps({"user_id": USER})
    given = {
        **environment,
        **ENCODINGS[encoding],
        "JAY_SERVER__PORT": process.url.rpartition(":")[2],
        "JAY_REDIS__DATA_DIR": folder,
    }
    create = [
        "curl",
        "-sf",
        "-X",
        "POST",
        "-H",
        "X-API-Key: your_api_key_here",
        "-H",
        "Content-Type: application/json",
    ]

    def run(arguments: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            command(*arguments), env=given, cwd=tmp_path, capture_output=True, check=False, timeout=60
        )
        assert b"Traceback" not in done.stdout + done.stderr, (arguments, done)
        assert b"UnicodeEncodeError" not in done.stdout + done.stderr, (arguments, done)
        return done

    assert run(("demo", "--sessions", "1000")).returncode == 0
    subprocess.run([*create, "-d", body, process.url + PATH], check=True, capture_output=True)
    with ThreadPoolExecutor(2) as pool:
        for arguments, done in zip(SUCCESSES, pool.map(run, SUCCESSES), strict=True):
            assert (done.returncode, done.stderr) == (0, b""), (arguments, done)
            if arguments[-1] == "--json" or arguments[:2] == ("users", "export"):
                name = ENCODINGS[encoding].get("PYTHONIOENCODING", "ascii").partition(":")[0]
                assert json.loads(done.stdout.decode(name)), arguments
        for arguments, done in zip(FAILURES, pool.map(run, FAILURES), strict=True):
            assert done.returncode in {1, 2}, (arguments, done)
            assert done.stderr or arguments[0] == "doctor", arguments
    assert run(("doctor",)).returncode == 0
    assert process.stop() == 0
    for line in process.log:
        assert json.loads(line)


def test_json_in_ascii_has_the_same_content(environment: dict[str, str], tmp_path: Path) -> None:
    """JSON in ASCII uses JSON escapes, also beyond 16 bits."""
    given = {**environment, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("openapi", "--json"), env=given, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.isascii()
    assert json.loads(done.stdout) == yaml.safe_load(openapi_yaml())
    program = f"from service.commands import terminal; terminal.prepare(); print('\"{USER}\"')"
    done = subprocess.run([sys.executable, "-c", program], env=given, cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout) == USER


@pytest.mark.parametrize("arguments", [("check-config",), ("openapi",), ("keys", "new", "--scope", "validate")])
@pytest.mark.parametrize("target", ["/dev/full", "closed", "pipe"])
def test_an_output_that_cannot_be_written_is_one_line(
    arguments: tuple[str, ...], target: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """A full output is one error line, and a closed output is no error."""
    words = " ".join(command(*arguments))
    line = {"/dev/full": f"{words} > /dev/full", "closed": f"{words} >&-", "pipe": f"( {words}; echo $? >&3 ) | true"}
    status = tmp_path / "status"
    with status.open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        script = line[target].replace("&3", f"&{file.fileno()}")
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            close_fds=False,
        )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if target == "/dev/full":
        assert done.returncode == 1
        assert done.stderr == "jay-tracking: OSError: No space left on device (ENOSPC)\n"
    else:
        assert done.stderr == ""
        assert done.returncode == 0


def test_a_closed_standard_error_keeps_the_exit_status(environment: dict[str, str], tmp_path: Path) -> None:
    """The exit status is the same when standard error is full or closed."""
    for target in ("2>/dev/full", "2>&-", "2>&- <&- >&-"):
        for arguments, status in ((("healthcheck", "--url", "x"), 1), (("check-config", "--config", "x"), 2)):
            script = f"{' '.join(command(*arguments))} {target}"
            done = subprocess.run(["/bin/sh", "-c", script], env=environment, cwd=tmp_path, check=False)
            assert done.returncode == status, script
