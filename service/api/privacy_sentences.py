"""The sentences of the privacy notice, made from the settings in force.

Every statement names the settings that it is made from. `tests/unit/
test_privacy_notice.py` changes each setting and checks which statements change. A
statement without settings is true of every configuration.

The sentences are for visitors. `privacy_retention.py` has those about lifetimes.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from service.api import wire
from service.api.durations import duration_in_words
from service.api_keys import ApiKey, Gpc, Reveal, Scope
from service.config.settings import Settings
from service.sessions import SHARD_COUNT

PURPOSE = (
    "The service counts sessions of client programs, such as players and apps. It lets a client program check that a "
    "session is still valid."
)
# How many API keys respect `Sec-GPC`.
NO_KEY, SOME_KEYS, EVERY_KEY = "no_key", "some_keys", "every_key"
# The name in our clients, unless the page or app chooses another one.
CREATION_KEY = "jay-tracking:key"

_SENT_WITH = {
    "Lax": "with requests of pages of the same site, and when a link leads to the site",
    "Strict": "only with requests of pages of the same site",
    "None": "also with requests of pages of other sites",
}
_REVEALED = {Reveal.SESSION_ID: "the id of the session", Reveal.USER_ID: "the user id"}


@dataclass(frozen=True)
class Statement:
    """A sentence, or several that belong together, and the settings they come from."""

    text: str
    settings: tuple[str, ...] = ()


def gpc_of(keys: Collection[ApiKey]) -> str:
    """Return how many API keys that create sessions respect `Sec-GPC`."""
    creating = _with_scope(keys, Scope.TRACK)
    respecting = sum(key.gpc is Gpc.GUEST for key in creating)
    if not respecting:
        return NO_KEY
    return EVERY_KEY if respecting == len(creating) else SOME_KEYS


def on_the_device(settings: Settings) -> Iterator[Statement]:
    """Yield what the browser or the device of a visitor keeps."""
    cookie = settings.cookie
    yield Statement(
        f"A new session sets the cookie {wire.SESSION_TOKEN}. It has a random number, which is the id of the "
        "session, and nothing else. Devices without cookies keep the id and send it in a header."
    )
    lifetime = duration_in_words(settings.session.ttl_seconds)
    yield Statement(f"The cookie is kept for {lifetime}. No request extends this time.", ("session.ttl_seconds",))
    yield Statement(
        f"Browsers send the cookie {_SENT_WITH[cookie.same_site]} (SameSite={cookie.same_site}).",
        ("cookie.same_site",),
    )
    hosts = f"to {cookie.domain.lstrip('.')} and its subdomains" if cookie.domain else "only to the host that set it"
    yield Statement(f"Browsers send the cookie {hosts}.", ("cookie.domain",))
    paths = "with requests for every path" if cookie.path == "/" else f"with requests for paths under {cookie.path}"
    yield Statement(f"Browsers send the cookie {paths}.", ("cookie.path",))
    sites = (
        "a separate cookie for each site that embeds the service"
        if cookie.partitioned
        else "one cookie, also when pages of several sites use the service"
    )
    yield Statement(f"A browser keeps {sites}.", ("cookie.partitioned",))
    yield Statement(
        "Scripts in pages cannot read the cookie, and browsers send it only over encrypted connections (HttpOnly, "
        "Secure)."
    )
    yield Statement(
        "Before a client program asks for a session, it may keep a second random number on the device, so that a "
        "repeated request gets the same session. The clients in JavaScript, Kotlin and Swift keep it under the name "
        f"{CREATION_KEY}, in a browser in localStorage, together with the user id that they send. They remove both "
        "when the service has created the session or refused it for good."
    )


def in_the_service(settings: Settings, keys: Collection[ApiKey]) -> Iterator[Statement]:
    """Yield what the service stores, counts and logs."""
    yield from _records(settings)
    yield from _counts(settings)
    yield from _requests(settings, keys)


def _records(settings: Settings) -> Iterator[Statement]:
    yield Statement(
        "The record of a session has its id, the time at which it began, its lifetime, how often its consent "
        f"changed, and the name of the client program that created it, such as {settings.session.source}.",
        ("session.source",),
    )
    yield Statement(
        "The record has a user id only if the client program sends one. It may send one only for users who are "
        "logged in and have agreed. An index finds the sessions of a user by a keyed hash of the user id, which is a "
        "code that does not reveal it."
    )
    yield Statement(
        "If the request for a session has a second random number (Idempotency-Key), the service also keeps the id of "
        "the session under a keyed hash of the request. The hash covers the user id too, and does not "
        "reveal it."
    )
    yield Statement(
        "When a visitor agrees or withdraws consent during a visit, the session goes on with a new id. The service "
        "keeps the old id, which points to the new one, so that the old id can still end the session or withdraw "
        "consent."
    )
    yield Statement(
        "The service keeps fingerprints of the secrets for its hashes. They reveal no secret and are about no "
        "visitor. After an erasure, it keeps the number of sessions that ended, under a random name."
    )


def _counts(settings: Settings) -> Iterator[Statement]:
    yield Statement(
        "Numbers of sessions, and of consents given and withdrawn, are kept by minute, hour, day and client program. "
        "They name no session and no user."
    )
    yield Statement(
        "The number of different users is estimated from short summaries, called sketches. They have no list of user "
        "ids, but somebody who has a sketch and a user id can test whether the user was probably counted."
    )
    listed = settings.analytics.top_users * SHARD_COUNT
    yield Statement(
        f"A list for each day has the user ids with the most sessions, at most {listed:,}.", ("analytics.top_users",)
    )


def _requests(settings: Settings, keys: Collection[ApiKey]) -> Iterator[Statement]:
    limits = sorted({key.create_limit.seconds for key in _with_scope(keys, Scope.TRACK) if key.create_limit})
    if limits:
        addresses = (
            f"The service counts over {duration_in_words(limits[-1])} how many sessions an address creates. It keeps "
            "the address in memory for that, and stores it nowhere."
        )
    else:
        addresses = "The service keeps no addresses of clients."
    yield Statement(addresses, ("api_keys",))
    log = (
        "The log of the service has the time, the kind, the result and the duration of a request, a random number of "
        "the request, and the name of the client program's key. It has no address, no session id and no user id."
    )
    yield Statement(log + _with_ref(is_added=settings.log.session_ref), ("log.session_ref",))


def for_other_services(settings: Settings, keys: Collection[ApiKey]) -> Iterator[Statement]:
    """Yield what the service passes on."""
    asking = _with_scope(keys, Scope.VALIDATE)
    if asking:
        parts = [words for part, words in _REVEALED.items() if any(part in key.reveal for key in asking)]
        lookup = (
            "Other services to which the operator gave a key may send the ids of sessions and get the records of "
            "those sessions, with the user ids."
        )
        proxy = (
            "A proxy with such a key may pass on to other services a keyed hash of the session id, the name of the "
            f"client program and the end of the session's lifetime. It {_may_add(parts)}."
        )
    else:
        lookup = "No other service may ask for the record of a session."
        proxy = "No proxy passes data of a session on to other services."
    yield Statement(lookup, ("api_keys",))
    yield Statement(proxy, ("api_keys",))
    tracing = settings.tracing
    traces = "The service sends no traces of requests to other programs."
    if tracing.otlp_endpoint:
        traces = (
            "The service sends traces of requests to a program that the operator chose. A trace has the time, the "
            "kind, the result and the duration of a request. It has no address, no session id and no user id."
        ) + _with_ref(is_added=tracing.session_ref)
    yield Statement(traces, ("tracing.otlp_endpoint", "tracing.session_ref"))


def choices(settings: Settings, keys: Collection[ApiKey]) -> Iterator[Statement]:
    """Yield what a visitor can do, and whom a visitor can ask."""
    contact, objection_url = settings.privacy.contact, settings.privacy.objection_url
    ask = (
        f"Questions about data go to {contact}."
        if contact
        else "Questions about data go to the operator of the website or app."
    )
    yield Statement(ask, ("privacy.contact",))
    where = f"at {objection_url}" if objection_url else "by contacting the operator of the website or app"
    yield Statement(f"People can object {where}.", ("privacy.objection_url",))
    yield Statement(
        "The client program can withdraw consent during a visit. The visit goes on, and the user id is removed from "
        "its record, from the index, and from the list of the day unless other sessions keep it there."
    )
    yield Statement(
        "The operator can export and erase the data of a user id. An erasure ends all sessions of the user, and "
        "removes the user id from the records and lists. Sketches keep a trace until they are deleted, and so do "
        "files and backups of the database until they are written again or deleted."
    )
    yield Statement(
        {
            NO_KEY: "The service does not use the signal Global Privacy Control (Sec-GPC).",
            SOME_KEYS: "For some client programs, a browser with Global Privacy Control (Sec-GPC) gets a session "
            "without a user id.",
            EVERY_KEY: "A browser with Global Privacy Control (Sec-GPC) gets a session without a user id.",
        }[gpc_of(keys)],
        ("api_keys",),
    )


def _with_scope(keys: Collection[ApiKey], scope: Scope) -> list[ApiKey]:
    return [key for key in keys if scope in key.scopes]


def _may_add(parts: list[str]) -> str:
    return f"may add {' and '.join(parts)}" if parts else "adds no session id and no user id"


def _with_ref(*, is_added: bool) -> str:
    """Return the sentence about the session ref, after a space, or an empty string."""
    if not is_added:
        return ""
    return (
        " It has a keyed hash of the session id (session ref), which shows the requests that belong to one session "
        "and does not reveal the id."
    )
