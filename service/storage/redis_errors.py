"""The one place that translates the exceptions of redis-py.

    silent    no reply, or one that cannot be parsed: Redis is down or hangs, or another
              program listens there
    demoted   the server is no longer the primary, or not at this moment: the
              connection is closed and the server's name is resolved again
    rejected  the server cannot serve this command now
    denied    the service's Redis user may not run a command, or the server does not
              have the command, its append-only file or a script that it was sent
    unfit     the self-test of a new connection failed

Every other error reply is a bug of the service, and is raised unchanged.
"""

from enum import Enum, auto

from redis import exceptions

from service.storage.durability import NotDurable
from service.storage.tls_causes import tls_cause_of


class Unfit(exceptions.RedisError):
    """The self-test failed: this Redis cannot do what the service needs.

    The message names the cause.
    """


class ErrorKind(Enum):
    """The meaning of an exception. The module's docstring describes each kind."""

    SILENT = auto()
    DEMOTED = auto()
    REJECTED = auto()
    DENIED = auto()
    UNFIT = auto()
    BUG = auto()


# The order matters: redis-py's classes for LOADING and NOAUTH are connection errors.
_CLASSES: tuple[tuple[ErrorKind, tuple[type[BaseException], ...]], ...] = (
    (ErrorKind.UNFIT, (Unfit,)),
    (
        ErrorKind.DEMOTED,
        (
            exceptions.BusyLoadingError,
            exceptions.AuthenticationError,
            exceptions.ReadOnlyError,
            exceptions.ClusterDownError,  # and MasterDownError
            exceptions.AskError,  # and MovedError
        ),
    ),
    (
        ErrorKind.SILENT,
        (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.InvalidResponse, OSError, TimeoutError),
    ),
    (ErrorKind.DENIED, (exceptions.ClusterCrossSlotError, exceptions.NoScriptError)),
    (ErrorKind.REJECTED, (exceptions.OutOfMemoryError, exceptions.TryAgainError, NotDurable)),
)
# Error replies for which redis-py has no class, by their first word.
_CODES = {
    "NOREPLICAS": ErrorKind.DEMOTED,
    "UNBLOCKED": ErrorKind.DEMOTED,
    "BUSY": ErrorKind.REJECTED,
    "MISCONF": ErrorKind.REJECTED,
    "DB": ErrorKind.REJECTED,  # "DB index is out of range"
    # "cannot be used with replica instances": a replica since the write
    "WAIT": ErrorKind.DEMOTED,
    "WAITAOF": ErrorKind.DEMOTED,
}
# Inside a script a denial has the code ERR. These are the messages of Redis 7.0 to 8
# and Valkey 7.2 to 9. The last one is a reply to WAITAOF.
_DENIALS = (
    *("can't run this command", "no permissions", "can't access at least one of the keys", "unknown command"),
    "appendonly is disabled",
)


_SLOT_MOVES = "A slot of the cluster moves. Wait until the move ends"
# The first advice that fits is logged. Strings are parts of the error's message.
_ADVICE: tuple[tuple[type[BaseException] | str, str], ...] = (
    ("max number of clients reached", "Raise maxclients of Redis, or close other connections to it"),
    (Unfit, "Check redis.url, or run `jay-tracking doctor` for details"),
    (exceptions.BusyLoadingError, "Redis loads its data. Wait until it has"),
    (exceptions.AuthenticationError, "Check redis.url for the user and the password"),
    (exceptions.ReadOnlyError, "Check redis.url: it has to lead to the primary"),
    (exceptions.MasterDownError, "Check redis.url: it has to lead to the primary"),
    (exceptions.ClusterDownError, "Check the nodes of the cluster"),
    (exceptions.MovedError, "Check the nodes of the cluster, and redis.url"),
    (exceptions.AskError, _SLOT_MOVES),
    (exceptions.OutOfMemoryError, "Give Redis more memory and raise maxmemory"),
    (exceptions.TryAgainError, _SLOT_MOVES),
    (exceptions.ClusterCrossSlotError, "Check redis.group_by_shard"),
    (NotDurable, "Check the disk and the replicas of Redis"),
    ("NOREPLICAS", "Check the replicas of Redis, and its setting min-replicas-to-write"),
    ("MISCONF", "Free space on the disk of Redis, and read its log"),
    ("BUSY", "A script keeps Redis busy. Find the program that runs it, or send SCRIPT KILL"),
    ("UNBLOCKED", "Check the primary of Redis"),
    ("replica instances", "Check redis.url: it has to lead to the primary"),
    ("appendonly is disabled", "Turn on the append-only file of Redis, or change redis.durability"),
    ("DB index", "Check redis.url: Redis does not have the database of this number"),
)
_DENIAL_ADVICE = "Allow the command for the user of Redis, or run `jay-tracking doctor` for details"
_OTHER_ADVICE = "Check redis.url, and that Redis runs"


def kind_of(error: BaseException) -> ErrorKind:
    """Return the meaning of an exception."""
    for kind, classes in _CLASSES:
        if isinstance(error, classes):
            return kind
    return ErrorKind.DENIED if is_denied(error) else _CODES.get(_code_of(error), ErrorKind.BUG)


def _code_of(error: BaseException) -> str:
    """Return the first word of an error reply for which redis-py has no class."""
    return str(error).partition(" ")[0] if type(error) is exceptions.ResponseError else ""


def problem_name(error: BaseException) -> str:
    """Return the name of an error: its code or its class."""
    code = _code_of(error)
    return code if code in _CODES else type(error).__name__


def reason_of(error: BaseException) -> str:
    """Return the class and the message of an error for the log, without a final dot."""
    name, message = type(error).__name__, _message_of(error).rstrip(".")
    return f"{name}: {message}" if message else name


def advice_for(error: BaseException) -> str:
    """Return what an operator can do about an error."""
    for sign, advice in _ADVICE:
        if sign in str(error) if isinstance(sign, str) else isinstance(error, sign):
            return advice
    return _DENIAL_ADVICE if kind_of(error) is ErrorKind.DENIED else _OTHER_ADVICE


def is_denied(error: BaseException) -> bool:
    """Return whether a command is not allowed, does not exist, or cannot be run.

    Managed offerings forbid, rename or remove some commands.
    """
    message = str(error).lower()
    return isinstance(error, exceptions.NoPermissionError) or any(part in message for part in _DENIALS)


def _message_of(error: BaseException) -> str:
    """Return the error's message for the log. For a failure of TLS it names the cause.

    It is empty for a reply that cannot be parsed, because the message quotes the reply
    and the reply may contain a session.
    """
    if isinstance(error, exceptions.InvalidResponse):
        return ""
    return tls_cause_of(error) or str(error)
