"""The meaning of redis-py's exceptions for the service: the one place that sorts them.

    silent    no answer, or none that can be understood: Redis is down, hung or not a Redis
    demoted   the server answers that it is not, or not now, the one to ask: the connection is closed and the
              name is resolved again
    refused   the server answers that it cannot serve this now
    denied    the service's Redis user may not run a command, or the server does not know it

Every other error reply is a bug of the service and is raised as it is.
"""

from enum import Enum, auto

from redis import exceptions


class Unfit(exceptions.RedisError):
    """The self-test failed: this Redis cannot do what the service needs. The text names the cause."""


class Kind(Enum):
    """The meaning of an exception."""

    SILENT = auto()
    DEMOTED = auto()
    REFUSED = auto()
    DENIED = auto()
    UNFIT = auto()
    BUG = auto()


# The order matters: redis-py's LOADING and NOAUTH are connection errors too.
_CLASSES: tuple[tuple[Kind, tuple[type[BaseException], ...]], ...] = (
    (Kind.UNFIT, (Unfit,)),
    (
        Kind.DEMOTED,
        (
            exceptions.BusyLoadingError,
            exceptions.AuthenticationError,
            exceptions.ReadOnlyError,
            exceptions.ClusterDownError,  # and MasterDownError
            exceptions.AskError,  # and MovedError
        ),
    ),
    (
        Kind.SILENT,
        (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.InvalidResponse, OSError, TimeoutError),
    ),
    (Kind.DENIED, (exceptions.ClusterCrossSlotError,)),
    (Kind.REFUSED, (exceptions.OutOfMemoryError, exceptions.TryAgainError)),
)
# Replies for which redis-py has no class, by their first word.
_CODES = {
    "NOREPLICAS": Kind.DEMOTED,
    "UNBLOCKED": Kind.DEMOTED,
    "BUSY": Kind.REFUSED,
    "MISCONF": Kind.REFUSED,
    "DB": Kind.REFUSED,  # "DB index is out of range"
}
# Replies inside a script are plain ERR. Redis 7.0 to 8 and Valkey 7.2 to 9.
_DENIALS = ("can't run this command", "no permissions", "can't access at least one of the keys", "unknown command")


def kind_of(error: BaseException) -> Kind:
    """Return what an exception means."""
    for kind, classes in _CLASSES:
        if isinstance(error, classes):
            return kind
    text = str(error)
    code = text.partition(" ")[0]
    if code in _CODES:
        return _CODES[code]
    return Kind.DENIED if is_denied(error) else Kind.BUG


def is_denied(error: BaseException) -> bool:
    """Return whether the service's Redis user may not run a command, or the server does not have it.

    Managed offerings forbid, rename or remove some commands.
    """
    lowered = str(error).lower()
    return isinstance(error, exceptions.NoPermissionError) or any(part in lowered for part in _DENIALS)


def text_of(error: BaseException) -> str:
    """Return the text for the log. A reply that cannot be understood may hold anything, a session's value too."""
    return "" if isinstance(error, exceptions.InvalidResponse) else str(error)
