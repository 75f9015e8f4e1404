"""The privacy notice: each statement is made from the settings that it names."""

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.api.durations import duration_in_words
from service.api.privacy_notice import make_notice
from service.api.privacy_sentences import CREATION_KEY, Statement
from service.api.session_body import session_json
from service.api.session_token import SessionCookie
from service.api_keys import ApiKey, Gpc, Reveal, Scope
from service.config.settings import Settings
from service.digests import UserDigest
from service.rate_limits import RateLimit
from service.sessions import SessionFactory
from service.storage.keyspace import ERASED_SECONDS, RECEIPT_SECONDS, UNIONS_SECONDS, Lifetimes
from tests.support.openapi import Reference

CLIENTS = Path(__file__).parents[2] / "clients"
KEY = ApiKey("web", "0" * 64, frozenset({Scope.TRACK}))
PROXY = ApiKey("proxy", "1" * 64, frozenset({Scope.VALIDATE}))
DEFAULT = Settings(api_keys=(KEY,))
# Another value for each setting that a visitor may notice, and for some that no visitor
# notices.
CHANGES: dict[str, Any] = {
    "session.ttl_seconds": 3600,
    "session.source": "tv.app",
    "session.user_secret": "another secret",
    "cookie.same_site": "Strict",
    "cookie.domain": "example.com",
    "cookie.path": "/v1",
    "cookie.partitioned": True,
    "analytics.retention_days": 30,
    "analytics.top_users": 50,
    "privacy.contact": "privacy@example.com",
    "privacy.objection_url": "https://www.example.com/objection",
    "server.port": 9000,
    "redis.key_prefix": "other",
    "cors.max_age_seconds": 1,
    "metrics.enabled": False,
    "log.level": "debug",
    "log.session_ref": True,
    "tracing.otlp_endpoint": "http://collector:4318",
    "tracing.session_ref": True,
}
# Another setting without which a change has no effect.
NEEDED: dict[str, tuple[str, Any]] = {"tracing.session_ref": ("tracing.otlp_endpoint", "http://collector:4318")}


def changed(name: str, value: Any, settings: Settings = DEFAULT) -> Settings:
    """Return the settings with one other value."""
    section, _, setting = name.partition(".")
    return replace(settings, **{section: replace(getattr(settings, section), **{setting: value})})


def statements(settings: Settings) -> list[Statement]:
    notice = make_notice(settings, settings.api_keys)
    return [statement for section in notice.sections for statement in section.statements]


def test_each_statement_is_made_from_the_settings_that_it_names() -> None:
    """A changed setting changes the statements that name it, and no other."""
    found: list[set[str]] = [set() for _ in statements(DEFAULT)]
    variants = []
    for name, value in CHANGES.items():
        needed = changed(*NEEDED[name]) if name in NEEDED else DEFAULT
        variants.append((name, needed, changed(name, value, needed)))
    others = [
        (replace(KEY, gpc=Gpc.GUEST),),
        (replace(KEY, create_limit=RateLimit(60, 60)),),
        (KEY, PROXY),
        (KEY, replace(PROXY, reveal=frozenset({Reveal.USER_ID}))),
    ]
    variants += [("api_keys", DEFAULT, Settings(api_keys=keys)) for keys in others]
    for name, before, after in variants:
        for number, (old, new) in enumerate(zip(statements(before), statements(after), strict=True)):
            assert new.settings == old.settings
            if new.text != old.text:
                found[number].add(name)
    assert found == [set(statement.settings) for statement in statements(DEFAULT)]


def test_every_setting_of_the_cookie_and_of_privacy_is_in_the_notice() -> None:
    """No attribute of the cookie and no answer to people is left out."""
    named = {name for statement in statements(Settings()) for name in statement.settings}
    settings = Settings()
    for section in ("cookie", "privacy"):
        assert {f"{section}.{field.name}" for field in fields(getattr(settings, section))} <= named
    assert {"session.ttl_seconds", "analytics.retention_days", "analytics.top_users", "api_keys"} <= named


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("session.ttl_seconds", 5400, "The cookie is kept for 90 minutes."),
        ("session.ttl_seconds", 5400, "The record of a session is deleted after 90 minutes,"),
        ("cookie.same_site", "None", "also with requests of pages of other sites (SameSite=None)"),
        ("cookie.domain", ".example.com", "to example.com and its subdomains"),
        ("session.ttl_seconds", 5400, "is deleted 90 minutes after the request, also when the session is ended"),
        ("session.ttl_seconds", 5400, "may be kept for up to 90 minutes more"),
        ("session.ttl_seconds", 3600, "Numbers by minute are deleted after 3 hours."),
        ("session.ttl_seconds", 3600, "Fingerprints of secrets are deleted 3 hours after"),
        ("analytics.retention_days", 7, "lists of a day are deleted 7 days after the day, or up to one day later"),
        ("analytics.top_users", 10, "at most 160."),
        ("privacy.contact", None, "the operator of the website or app"),
        ("log.session_ref", True, "no user id. It has a keyed hash of the session id (session ref)"),
        ("tracing.otlp_endpoint", None, "The service sends no traces"),
        ("tracing.otlp_endpoint", "http://collector:4318", "sends traces of requests to a program"),
    ],
)
def test_a_value_is_in_words(name: str, value: Any, words: str) -> None:
    """The notice has the values of the settings."""
    assert any(words in statement.text for statement in statements(changed(name, value)))


@pytest.mark.parametrize(
    ("reveal", "words"),
    [
        ([], "It adds no session id and no user id."),
        ([Reveal.USER_ID], "It may add the user id."),
        ([Reveal.USER_ID, Reveal.SESSION_ID], "It may add the id of the session and the user id."),
    ],
)
def test_revealed_ids_are_in_the_notice(reveal: list[Reveal], words: str) -> None:
    """The notice has the ids that keys of proxies reveal. Other keys reveal none."""
    keys = (replace(KEY, reveal=frozenset(Reveal)), *(replace(PROXY, reveal=frozenset({part})) for part in reveal))
    texts = [statement.text for statement in statements(Settings(api_keys=(*keys, PROXY)))]
    assert any(words in text for text in texts)
    without = [statement.text for statement in statements(Settings(api_keys=keys[:1]))]
    assert "No proxy passes data of a session on to other services." in without


def test_fixed_lifetimes_are_those_of_redis() -> None:
    """Lifetimes that no setting changes are those that the stores use."""
    texts = " ".join(statement.text for statement in statements(Settings()))
    assert f"the record of an erasure after {duration_in_words(RECEIPT_SECONDS)}." in texts
    assert f"ended or erased may be kept for {duration_in_words(ERASED_SECONDS)} more." in texts
    assert f"Results of counts are deleted after {duration_in_words(UNIONS_SECONDS)}." in texts
    lifetimes = Lifetimes.of(3600, 7)
    assert duration_in_words(lifetimes.minutes) == "3 hours"
    assert duration_in_words(lifetimes.counts) == "8 days"


def test_the_name_on_the_device_is_that_of_the_clients() -> None:
    """Each client that keeps a creation key has the name that the notice says."""
    name, _, suffix = CREATION_KEY.partition(":")
    for file in ("js/jay-tracking.js", "kotlin/JayTracking.kt", "swift/JayTracking.swift"):
        source = (CLIENTS / file).read_text("utf-8")
        assert f'"{name}"' in source, file
        assert f":{suffix}" in source, file
    assert any(CREATION_KEY in statement.text for statement in statements(Settings()))


def test_the_fields_are_those_of_a_stored_session() -> None:
    """The listed fields are the fields of a session, as the API returns it."""
    listed = make_notice(Settings(), ()).fields["fields"]
    new = SessionFactory(UserDigest("secret")).new
    assert listed["guest"] == list(orjson.loads(session_json(new("s", None))))
    assert listed["user"] == list(orjson.loads(session_json(new("s", "u"))))


def test_the_cookie_is_the_one_that_is_set() -> None:
    """Name, lifetime and attributes are those of `Set-Cookie`."""
    settings = replace(changed("cookie.domain", "example.com"))
    cookie = make_notice(settings, ()).fields["cookie"]
    line = SessionCookie(settings.cookie, settings.session.ttl_seconds).setting("id")
    name, *attributes = line.split("; ")
    assert name == f"{cookie['name']}=id"
    assert set(attributes) == {
        f"Path={cookie['path']}",
        f"Max-Age={cookie['lifetime_seconds']}",
        f"Domain={cookie['domain']}",
        f"SameSite={cookie['same_site']}",
        *(["Secure"] if cookie["secure"] else []),
        *(["HttpOnly"] if cookie["http_only"] else []),
        *(["Partitioned"] if cookie["partitioned"] else []),
    }


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ([], "no_key"),
        ([Gpc.IGNORE], "no_key"),
        ([Gpc.IGNORE, Gpc.GUEST], "some_keys"),
        ([Gpc.GUEST, Gpc.GUEST], "every_key"),
    ],
)
def test_only_keys_that_create_sessions_matter(uses: list[Gpc], expected: str) -> None:
    """Keys of operators create no sessions, so they do not change the notice."""
    keys = [replace(KEY, gpc=gpc) for gpc in uses]
    operator = replace(KEY, scopes=frozenset({Scope.PRIVACY}))
    assert make_notice(Settings(), [*keys, operator]).fields["global_privacy_control"] == expected


def test_the_document_has_all_statements() -> None:
    """The JSON document has the sentences of the page."""
    notice = make_notice(Settings(), ())
    document = orjson.loads(orjson.dumps(notice.document()))
    assert document["notice"] == orjson.loads(orjson.dumps([asdict(section) for section in notice.sections]))


def test_the_example_of_the_reference_is_the_notice_of_the_defaults() -> None:
    """The reference shows the notice under the default settings, word for word."""
    example = Reference().document["components"]["examples"]["PrivacyNotice"]
    assert example["summary"] == "The notice under the default settings"
    assert example["value"] == orjson.loads(orjson.dumps(make_notice(Settings(), ()).document()))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (90, "90 seconds"),
        (60, "1 minute"),
        (86400, "24 hours"),
        (172_800, "2 days"),
        (90_000, "25 hours"),
    ],
)
def test_durations_have_the_largest_unit_that_divides_them(seconds: int, words: str) -> None:
    """A duration is exact in words."""
    assert duration_in_words(seconds) == words
