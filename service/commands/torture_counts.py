"""The counts of `jay-tracking torture`, and the source that it counts."""

import re
import time
from http import HTTPStatus

from service.api import wire
from service.api.answer_cache import MAX_AGE_SECONDS
from service.commands import counts
from service.commands.api_client import ApiClient
from service.commands.torture_http import PATH
from service.commands.torture_ledger import Counted
from service.errors import CommandError

# Sessions have to outlive the load, the wait for the service and the check.
_LIFETIME_MARGIN_SECONDS = 900
_ANSWER_SECONDS = 30.0
_RETRY_SECONDS = 0.5


def probe(client: ApiClient, seconds: float) -> str:
    """Create a session, end it, and return the source of the key's sessions.

    Raises CommandError if the service or its sessions are unfit for a load of this
    many seconds.
    """
    created = client.send("POST", PATH)
    document = created.document()
    if created.status != HTTPStatus.CREATED or "session_id" not in document:
        detail = created.detail() or "another server seems to listen there. Check the URL (--url, JAY_URL)"
        raise CommandError(f"{client.url} answers with {created.status} and creates no session: {detail}")
    client.send("DELETE", PATH, {str(wire.SESSION_TOKEN_ALIAS): str(document["session_id"])})
    lifetime = re.search(r"Max-Age=(\d+)", created.headers.get("Set-Cookie", ""))
    if lifetime and int(lifetime[1]) < seconds + _LIFETIME_MARGIN_SECONDS:
        raise CommandError(
            f"sessions of {client.url} live for {lifetime[1]} s, so they would expire before the check. "
            f"Set session.ttl_seconds to at least {seconds + _LIFETIME_MARGIN_SECONDS:.0f} for this test"
        )
    return str(document["source"])


class SourceCount:
    """The count of a source since the start of a UTC day.

    Raises CommandError when the counts cannot be read.
    """

    def __init__(self, operator: ApiClient, source: str, day: str) -> None:
        self._operator = operator
        self._source = source
        self._day = day
        self._last = self._read()

    def since_last(self) -> Counted:
        """Return what was counted since the last call, or since the start."""
        # The service may answer with numbers that are a second old.
        time.sleep(MAX_AGE_SECONDS)
        before, self._last = self._last, self._read()
        return self._last.since(before)

    def _read(self) -> Counted:
        query = {"from_": self._day, "interval": "day", "source": self._source}
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                totals = self._operator.fetch(f"{counts.PATH}/sessions", needs=("totals",), **query)["totals"]
                return Counted(*(totals[name] for name in ("created", "ended", "consent_given", "consent_withdrawn")))
            except CommandError:  # a 503, perhaps, right after a fault
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)


def start_counting(operator: ApiClient, source: str) -> SourceCount | None:
    """Return the count of a source up to now, or None if the key may not read counts.

    Raises CommandError when the counts cannot be read for another reason.
    """
    answer = operator.send("GET", f"{counts.PATH}/sessions")
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return None
    # As in `SourceCount.since_last`, because the session of `probe` was counted too.
    time.sleep(MAX_AGE_SECONDS)
    return SourceCount(operator, source, day=str(answer.document().get("as_of", ""))[:10])
