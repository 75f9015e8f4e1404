"""The doctor's checks of users' data: user secrets, indexes and command logs."""

from collections.abc import AsyncIterator, Iterator, Sequence

from service.commands.doctor_results import CheckResult, good, problem, unknown
from service.digests import UserDigest
from service.errors import UnknownUserSecret
from service.quantities import quantity
from service.storage.command_logs import command_log_lengths
from service.storage.connection import RedisConnection
from service.storage.index_check import IndexReport
from service.storage.keyspace import Keyspace
from service.storage.user_secrets import UserSecrets

_LOG_SETTINGS = {
    "SLOWLOG RESET": "slowlog-log-slower-than",
    "COMMANDLOG RESET slow": "commandlog-execution-slower-than",
    "COMMANDLOG RESET large-request": "commandlog-request-larger-than",
    "COMMANDLOG RESET large-reply": "commandlog-reply-larger-than",
}


async def check(
    connection: RedisConnection, keyspace: Keyspace, user_digests: Sequence[UserDigest]
) -> AsyncIterator[CheckResult]:
    """Yield results about command logs and user secrets. Raises StoreUnavailable."""
    lengths = await command_log_lengths(connection)
    if lengths is None:
        yield unknown(
            "the Redis user may not see the command logs, which can keep user ids and session ids",
            "allow the user +slowlog|len, and on Valkey +commandlog|len",
        )
    elif not any(lengths.values()):
        yield good("the command logs of Redis are empty, so they have no user ids")
    for reset, length in (lengths or {}).items():
        if length:
            yield problem(
                f"a log of Redis has {quantity(length, 'command')} with user ids and session ids in the arguments",
                f"an erasure cannot remove them. Set {_LOG_SETTINGS[reset]} to -1, then run {reset}",
            )
    try:
        await UserSecrets(connection, keyspace, user_digests).check()
        yield good("the settings have every user secret that is in use")
    except UnknownUserSecret as error:
        yield problem("requests for users are answered with 503", str(error))


def index_findings(found: IndexReport, *, repair: bool) -> Iterator[CheckResult]:
    """Yield results about sessions that an erasure would miss."""
    left = found.not_indexed - found.repaired
    if found.repaired:
        yield good(f"added {quantity(found.repaired, 'session')} to the indexes of users")
    if left:
        failed = "another program's data is under the key of the index. Delete it, then run --repair again"
        advice = f"export and erasure miss them: {failed if repair else 'run the doctor with --repair'}"
        yield problem(f"the indexes of users lack {quantity(left, 'session')}", advice)
    if found.unknown_secret:
        yield problem(
            f"found {quantity(found.unknown_secret, 'session')} created under another session.user_secret",
            "export and erasure miss them, and --repair does not help. "
            "Add that secret to session.previous_user_secrets",
        )
    if found.misplaced:
        yield problem(
            f"found {quantity(found.misplaced, 'session')} in another shard than the index of the user",
            "export and erasure miss them, and --repair does not help. End them by their ids with DELETE, "
            "or wait until they expire",
        )
    if not (left or found.unknown_secret or found.misplaced):
        yield good("every session of a user is in the index of the user")
