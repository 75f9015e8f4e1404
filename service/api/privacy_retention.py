"""The sentences of the privacy notice about lifetimes."""

from collections.abc import Iterator

from service.api.durations import duration_in_words
from service.api.privacy_sentences import Statement
from service.config.settings import Settings
from service.counts import DAY, HOUR


def how_long(settings: Settings) -> Iterator[Statement]:
    """Yield when each kind of data is deleted."""
    ttl_seconds = settings.session.ttl_seconds
    lifetime, of_sessions = duration_in_words(ttl_seconds), ("session.ttl_seconds",)
    yield Statement(
        f"The record of a session is deleted after {lifetime}, or earlier when the session is ended. The index of a "
        "user is deleted with the user's last session.",
        of_sessions,
    )
    yield Statement(
        f"The id under the hash of a request is deleted {lifetime} after the request, also when the session is ended "
        "earlier. The old id of a session whose consent changed is deleted when the lifetime of the session ends.",
        of_sessions,
    )
    yield Statement("The id of a session that was ended or erased may be kept for 1 minute more.")
    yield from _of_counts(settings)
    yield Statement(
        f"Fingerprints of secrets are deleted {duration_in_words(ttl_seconds + 2 * HOUR)} after the last use of the "
        "secret, and the record of an erasure after 5 minutes.",
        of_sessions,
    )
    yield Statement("The operator decides how long the log, traces and backups are kept.")


def _of_counts(settings: Settings) -> Iterator[Statement]:
    ttl_seconds = settings.session.ttl_seconds
    lifetime, days = duration_in_words(ttl_seconds), duration_in_words(settings.analytics.retention_days * DAY)
    yield Statement(
        f"Sketches and lists of a day are deleted {days} after the day, or up to one day later.",
        ("analytics.retention_days",),
    )
    # A change of the user may begin the lifetime of these numbers when the session is
    # about to expire. See `arrive` in set_user.lua.
    yield Statement(
        f"Numbers by hour and day are deleted {days} after the day, or up to one day later. Numbers by minute are "
        f"deleted after {duration_in_words(ttl_seconds + 2 * HOUR)}. When consent changes during a visit, numbers of "
        f"the time at which the visit began may be kept for up to {lifetime} more.",
        ("analytics.retention_days", "session.ttl_seconds"),
    )
    yield Statement("Results of counts are deleted after 1 hour.")
