"""The privacy notice: what the service stores, generated from the settings in force.

`privacy_sentences.py` and `privacy_retention.py` have the sentences. This module has
the sections, and the fields for programs.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from service.api import privacy_sentences as sentences
from service.api import wire
from service.api.privacy_retention import how_long
from service.api.privacy_sentences import PURPOSE, Statement
from service.api_keys import ApiKey
from service.config.settings import Settings


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
    sections = (
        Section("Purpose", (Statement(PURPOSE),)),
        Section("On the device", tuple(sentences.on_the_device(settings))),
        Section("In the service", tuple(sentences.in_the_service(settings, keys))),
        Section("Other services", tuple(sentences.for_other_services(settings, keys))),
        Section("How long", tuple(how_long(settings))),
        Section("Choices", tuple(sentences.choices(settings, keys))),
    )
    return Notice(sections, _fields(settings, keys))


def _fields(settings: Settings, keys: Collection[ApiKey]) -> dict[str, Any]:
    cookie, ttl_seconds = settings.cookie, settings.session.ttl_seconds
    return {
        "cookie": {
            "name": wire.SESSION_TOKEN,
            "purpose": PURPOSE,
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
        "global_privacy_control": sentences.gpc_of(keys),
        "contact": settings.privacy.contact,
        "objection_url": settings.privacy.objection_url,
    }
