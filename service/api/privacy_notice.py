"""The privacy notice: what the service stores, generated from the settings in force.

Every statement names the settings that it is made from. `tests/unit/
test_privacy_notice.py` changes each setting and checks which statements change. A
statement without settings is true of every configuration.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from service.api import wire
from service.api_keys import ApiKey, Gpc, Scope
from service.config.settings import Settings
from service.counts import DAY, HOUR, MINUTE
from service.sessions import SHARD_COUNT

_PURPOSE = (
    "The service counts sessions of client programs, such as players and apps. It lets a client program check that a "
    "session is still valid."
)
# How many API keys respect `Sec-GPC`.
NO_KEY, SOME_KEYS, EVERY_KEY = "no_key", "some_keys", "every_key"

_SENT_WITH = {
    "Lax": "with requests of pages of the same site, and when a link leads to the site",
    "Strict": "only with requests of pages of the same site",
    "None": "also with requests of pages of other sites",
}


@dataclass(frozen=True)
class Statement:
    """A sentence, or several that belong together, and the settings they come from."""

    text: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Statements about one subject."""

    title: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Notice:
    """The notice in sections for people, and as fields for programs."""

    sections: tuple[Section, ...]
    fields: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the API."""
        return {**self.fields, "notice": [asdict(section) for section in self.sections]}


def make_notice(settings: Settings, keys: Collection[ApiKey]) -> Notice:
    """Return the notice. `keys` are the API keys in force, which change by SIGHUP."""
    creating = [key for key in keys if Scope.TRACK in key.scopes]
    sections = (
        Section("Purpose", (Statement(_PURPOSE),)),
        Section("On the device", tuple(_on_the_device(settings))),
        Section("In the service", tuple(_in_the_service(settings, creating))),
        Section("How long", tuple(_how_long(settings))),
        Section("Choices", tuple(_choices(settings, creating))),
    )
    return Notice(sections, _fields(settings, creating))


def gpc_of(keys: Collection[ApiKey]) -> str:
    """Return how many API keys that create sessions respect `Sec-GPC`."""
    respecting = sum(key.gpc is Gpc.GUEST for key in keys)
    if not respecting:
        return NO_KEY
    return EVERY_KEY if respecting == len(keys) else SOME_KEYS


def _fields(settings: Settings, creating: Collection[ApiKey]) -> dict[str, Any]:
    cookie, ttl_seconds = settings.cookie, settings.session.ttl_seconds
    return {
        "cookie": {
            "name": wire.SESSION_TOKEN,
            "purpose": _PURPOSE,
            "lifetime_seconds": ttl_seconds,
            "domain": cookie.domain,
            "path": cookie.path,
            "same_site": cookie.same_site,
            "secure": True,
            "http_only": True,
            "partitioned": cookie.partitioned,
        },
        "fields": {
            "guest": ["session_id", "start_time", "source"],
            "user": ["session_id", "start_time", "source", "user_id"],
        },
        "retention": {
            "session_seconds": ttl_seconds,
            "count_days": settings.analytics.retention_days,
        },
        "global_privacy_control": gpc_of(creating),
        "contact": settings.privacy.contact,
        "objection_url": settings.privacy.objection_url,
    }


def _on_the_device(settings: Settings) -> Iterator[Statement]:
    cookie = settings.cookie
    yield Statement(
        f"A new session sets the cookie {wire.SESSION_TOKEN}. It has a random number, which is the id of the "
        "session, and nothing else. Devices without cookies send the id in a header."
    )
    lifetime = in_words(settings.session.ttl_seconds)
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
        else "one cookie for all sites"
    )
    yield Statement(f"A browser keeps {sites}.", ("cookie.partitioned",))
    yield Statement(
        "Scripts in pages cannot read the cookie, and browsers send it only over encrypted connections (HttpOnly, "
        "Secure)."
    )


def _in_the_service(settings: Settings, creating: Collection[ApiKey]) -> Iterator[Statement]:
    yield Statement(
        "The record of a session has its id, the time at which it began, and the name of the client program that "
        f"created it, such as {settings.session.source}.",
        ("session.source",),
    )
    yield Statement(
        "The record has a user id only if the client program sends one. It may send one only for users who are "
        "logged in and have agreed. An index finds the sessions of a user by a keyed hash of the user id."
    )
    yield Statement(
        "Numbers of sessions are kept by hour, day and client program. They name no session and no user. The number "
        "of different users is estimated from a sketch, which has no list of user ids."
    )
    listed = settings.analytics.top_users * SHARD_COUNT
    yield Statement(
        f"A list for each day has the user ids with the most sessions, at most {listed:,}.", ("analytics.top_users",)
    )
    limits = sorted({key.create_limit.seconds for key in creating if key.create_limit})
    if limits:
        addresses = (
            f"The service counts over {in_words(limits[-1])} how many sessions an address creates. It keeps the "
            "address in memory for that, and stores it nowhere."
        )
    else:
        addresses = "The service keeps no addresses of clients."
    yield Statement(addresses, ("api_keys",))
    yield Statement(
        "The service's log has the time, the path and the result of a request, and the name of the client program's "
        "key. It has no address, no session id and no user id."
    )


def _how_long(settings: Settings) -> Iterator[Statement]:
    lifetime = in_words(settings.session.ttl_seconds)
    yield Statement(
        f"The record of a session is deleted after {lifetime}, or earlier when the session is ended.",
        ("session.ttl_seconds",),
    )
    days = in_words(settings.analytics.retention_days * DAY)
    yield Statement(
        f"Numbers, sketches and lists of a day are deleted after {days}, or up to one day later.",
        ("analytics.retention_days",),
    )


def _choices(settings: Settings, creating: Collection[ApiKey]) -> Iterator[Statement]:
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
        "The operator can export and erase the data of a user id. An erasure ends all sessions of the user, and "
        "removes the user id from the records and lists."
    )
    yield Statement(
        {
            NO_KEY: "The service does not use the signal Global Privacy Control (Sec-GPC).",
            SOME_KEYS: "For some client programs, a browser with Global Privacy Control (Sec-GPC) gets a session "
            "without a user id.",
            EVERY_KEY: "A browser with Global Privacy Control (Sec-GPC) gets a session without a user id.",
        }[gpc_of(creating)],
        ("api_keys",),
    )


def in_words(seconds: int) -> str:
    """Return a duration in the largest unit that divides it. One day is 24 hours."""
    for unit, length in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        if seconds % length == 0 and (unit != "day" or seconds > DAY):
            return _counted(seconds // length, unit)
    return _counted(seconds, "second")


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
