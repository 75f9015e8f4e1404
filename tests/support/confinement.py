"""Runs a program under restrictions that systemd would set for a unit.

`python -m tests.support.confinement UNIT PROGRAM ARGUMENT...` replaces itself by the
program. The restrictions are those of the unit for system calls, address families and
writable executable memory. systemd uses the same mechanisms of the kernel. Users,
mounts and cgroups are left out, because they need systemd as the first process.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.systemd import Unit

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_EQUAL = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_MDWE = 65  # Linux 6.3
_NO_SUCH_CALL = -1


class _Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def system_calls(filters: Iterable[str]) -> set[str]:
    """Return the system calls that the lines `SystemCallFilter=` allow.

    systemd itself lists the calls of a set such as `@system-service`.
    """
    allowed = _expanded("@default")
    for line in filters:
        calls = {call for name in line.removeprefix("~").split() for call in _expanded(name)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def _expanded(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    found = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    ")]
    return {call for one in found if not one.startswith("#") for call in _expanded(one)}


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def _load_filter(calls: set[str], families: list[str]) -> None:
    """Refuse all other system calls, and sockets of other families."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_REFUSE))
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number == _NO_SUCH_CALL:  # libseccomp is older than systemd
            continue
        rules = [_Comparison(0, _EQUAL, getattr(socket, family), 0) for family in families]
        for rule in rules if call == "socket" else [None]:
            count = int(rule is not None)
            _check(library.seccomp_rule_add_array(context, _ALLOW, number, count, rule and ctypes.byref(rule)))
    _check(library.seccomp_load(context))


def main() -> None:
    """Confine this process, and replace it by the program."""
    unit = Unit(Path(sys.argv[1]))
    libc = ctypes.CDLL(None, use_errno=True)
    assert unit.value("NoNewPrivileges") == unit.value("MemoryDenyWriteExecute") == "yes"
    for option in (_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE):
        if libc.prctl(option, 1, 0, 0, 0):
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    _load_filter(system_calls(unit.values("SystemCallFilter")), unit.value("RestrictAddressFamilies").split())
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the program under test


if __name__ == "__main__":
    main()
