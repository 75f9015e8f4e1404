"""The rows of the fault matrix: each fault of Redis, and what it may do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from tests.api.fault_operations import READS, Operation
from tests.support import fault_proxy as proxy
from tests.support.fault_proxy import Fault

DEFAULT_SECONDS = 0.25  # of redis.timeout_seconds
# The canary has the form of a session in a reply.
_GARBAGE = b'\x16\x03\x01HTTP/1.1 ["canary-user-0"]\r\n'


class Outcome(Enum):
    """The statuses that an operation may have during a fault."""

    FAILS = "503"
    WORKS = "the status of a success"
    EITHER = "one of both"
    SOON = "the status of a success, for a repetition at the latest"


FAILS, WORKS, EITHER, SOON = Outcome


@dataclass(frozen=True)
class Row:
    """One fault, and what it may do.

    `begins` makes the fault for each proxy. `outcome` is that of all operations, except
    those in `others`. `has_effect`: a write that is answered 503 may have run, or run
    later. `longest` is the longest time of a call, in `redis.timeout_seconds`.
    `is_single`: the fault strikes once, so each operation gets a new one.

    `timeout_seconds` is `redis.timeout_seconds`. It is eight times the default for
    faults that cost no time. Then a busy machine's delays are no second fault.
    """

    begins: Callable[[], Fault]
    outcome: Outcome = FAILS
    others: Mapping[str, Outcome] = field(default_factory=dict)
    has_effect: bool = False
    longest: float = 0.25
    is_single: bool = False
    timeout_seconds: float = 8 * DEFAULT_SECONDS

    def outcome_of(self, operation: Operation) -> Outcome:
        """Return the outcome of an operation."""
        return self.others.get(operation.name, self.outcome)


def rejects(error: str, *names: bytes, disconnects: bool = False) -> Callable[[], Fault]:
    """Return what makes the fault that answers commands with an error."""
    return partial(proxy.rejected, error, *names, disconnects=disconnects)


FAULTS = {
    "down": Row(partial(Fault, is_down=True)),
    "hung": Row(partial(Fault, is_hung=True), has_effect=True, longest=2.4, timeout_seconds=2 * DEFAULT_SECONDS),
    "reply-lost": Row(proxy.reply_lost, has_effect=True),
    "reply-lost-once": Row(proxy.reply_lost_once, WORKS, is_single=True),
    # All connections are new, and it takes several round trips to make one. On a busy
    # machine a reply may take longer than the delay.
    "delayed": Row(partial(Fault, delay_seconds=0.1, disconnects=True), SOON, timeout_seconds=DEFAULT_SECONDS),
    "reply-cut": Row(proxy.reply_cut, has_effect=True),
    "garbage": Row(partial(proxy.reply_replaced, _GARBAGE), has_effect=True),
    "OOM": Row(rejects("OOM command not allowed when used memory > 'maxmemory'.")),
    "MISCONF": Row(rejects("MISCONF Errors writing to the AOF file: No space left on device")),
    "READONLY": Row(rejects("READONLY You can't write against a read only replica.")),
    "LOADING": Row(rejects("LOADING Redis is loading the dataset in memory")),
    "NOREPLICAS": Row(rejects("NOREPLICAS Not enough good replicas to write.")),
    "CROSSSLOT": Row(rejects("CROSSSLOT Keys in request don't hash to the same slot")),
    "scripts-flushed": Row(proxy.scripts_flushed, WORKS),
    # A read of sessions runs no script. It fails only with a new connection.
    "NOSCRIPT": Row(rejects("NOSCRIPT No matching script.", b"EVALSHA"), others=dict.fromkeys(READS, EITHER)),
    "too-many-clients": Row(
        partial(Fault, greeting=b"-ERR max number of clients reached\r\n", disconnects=True),
    ),
    "wrong-password": Row(rejects("WRONGPASS invalid username-password pair", b"AUTH", disconnects=True)),
    "no-SELECT-no-BGREWRITEAOF": Row(
        rejects("NOPERM this user has no permissions", b"SELECT", b"BGREWRITEAOF", disconnects=True), WORKS
    ),
}
