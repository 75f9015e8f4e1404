"""The privacy notice: each statement is made from the settings that it names."""

from dataclasses import asdict, fields, replace
from typing import Any

import orjson
import pytest

from service.api.privacy_notice import Statement, in_words, make_notice
from service.api.session_body import session_json
from service.api.session_token import SessionCookie
from service.api_keys import ApiKey, Gpc, Scope
from service.config.settings import Settings
from service.digests import UserDigest
from service.rate_limits import RateLimit
from service.sessions import SessionFactory

KEY = ApiKey("web", "0" * 64, frozenset({Scope.TRACK}))
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
}


def changed(name: str, value: Any) -> Settings:
    """Return the default settings with one other value."""
    section, _, setting = name.partition(".")
    settings = Settings(api_keys=(KEY,))
    return replace(settings, **{section: replace(getattr(settings, section), **{setting: value})})


def statements(settings: Settings) -> list[Statement]:
    notice = make_notice(settings, settings.api_keys)
    return [statement for section in notice.sections for statement in section.statements]


def test_each_statement_is_made_from_the_settings_that_it_names() -> None:
    """A changed setting changes the statements that name it, and no other."""
    before = statements(Settings(api_keys=(KEY,)))
    found: list[set[str]] = [set() for _ in before]
    others = [replace(KEY, gpc=Gpc.GUEST), replace(KEY, create_limit=RateLimit(60, 60))]
    variants = [(name, changed(name, value)) for name, value in CHANGES.items()]
    variants += [("api_keys", Settings(api_keys=(other,))) for other in others]
    for name, settings in variants:
        after = statements(settings)
        assert len(after) == len(before)
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            assert new.settings == old.settings
            if new.text != old.text:
                found[number].add(name)
    assert found == [set(statement.settings) for statement in before]


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
        ("analytics.retention_days", 7, "deleted after 7 days, or up to one day later"),
        ("analytics.top_users", 10, "at most 160."),
        ("privacy.contact", None, "the operator of the website or app"),
    ],
)
def test_a_value_is_in_words(name: str, value: Any, words: str) -> None:
    """The notice has the values of the settings."""
    assert any(words in statement.text for statement in statements(changed(name, value)))


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
    assert in_words(seconds) == words
