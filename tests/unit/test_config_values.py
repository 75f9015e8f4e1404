"""Values in files and variables: their syntax, and that accepted values work."""

import codecs
import io
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.api_keys import hash_key
from service.app import build
from service.config.loading import load
from service.config.setting_list import Setting, all_settings
from service.config.settings import Settings
from service.errors import ConfigError, ServerError
from service.server.listener import bind
from service.telemetry.logs import RequestLog

ENTRY = {"name": "web", "sha256": hash_key("k"), "scopes": ["track"]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def errors(environ: dict[str, str], content: str | bytes = b"") -> tuple[str, ...]:
    Path("config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return caught.value.errors


@pytest.mark.parametrize(
    "number",
    ["1_000", "010", "0o10", "0x10", "0b1", "12:30:00", "٣", "1e3", "1.0", "+-1", "true", "yes", "2026-01-31"],
)
def test_a_whole_number_is_written_in_decimal_digits(number: str) -> None:
    """Only decimal digits are a whole number, in a file and in a variable."""
    assert errors({}, f"session: {{ttl_seconds: {number}}}")[0].startswith(
        "config.yaml: session.ttl_seconds must be a whole number"
    )
    if number not in {"true", "yes"}:
        assert errors({"JAY_SESSION__TTL_SECONDS": number})[0].startswith(
            "JAY_SESSION__TTL_SECONDS must be a whole number"
        )


@pytest.mark.parametrize(
    "number",
    [".inf", "-.inf", ".nan", "1e999", "9" * 400, "-0.1", "60.5", "1_0.5", "1:30.5", "infinity", "nan", "0x1p3"],
)
def test_a_number_is_finite_and_within_its_bounds(number: str) -> None:
    """A number that is not finite or outside its bounds is an error."""
    (of_file,) = errors({}, f"server: {{drain_seconds: {number}}}")
    (of_variable,) = errors({"JAY_SERVER__DRAIN_SECONDS": number})
    for found in (of_file, of_variable):
        assert "server.drain_seconds must be" in found or "JAY_SERVER__DRAIN_SECONDS must be" in found
        assert len(found) < 200


@pytest.mark.parametrize("number", ["1", "+1", "1.0", "1.", ".5", "1e1", "1.5E-1"])
def test_a_number_has_the_usual_forms(number: str) -> None:
    """The usual forms of a number work in a file and in a variable."""
    Path("config.yaml").write_text(f"server: {{drain_seconds: {number}}}")
    assert load({}).settings == load({"JAY_SERVER__DRAIN_SECONDS": number}, Path("config.yaml")).settings
    assert load({}).settings.server.drain_seconds == float(number)


def test_dates_and_times_are_strings() -> None:
    """A value that looks like a date is a string."""
    Path("config.yaml").write_text("session: {source: 2026-01-31, user_secret: 2026-01-31 12:30:00}")
    session = load({}).settings.session
    assert (session.source, session.user_secret) == ("2026-01-31", "2026-01-31 12:30:00")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("server: {port: '8080'}", "server.port must be a whole number, not '8080'"),
        ("server: {port: true}", "server.port must be a whole number, not true"),
        ("server: {port: [1]}", "server.port must be a whole number, not a list"),
        ("server: {port: {a: 1}}", "server.port must be a whole number, not a mapping"),
        ("server: {port: 65536}", "server.port must be from 0 to 65535, not 65536"),
        ("server: {port: " + "9" * 5000 + "}", "holds a value that cannot be read"),
        ("server: {port: !!int ''}", "holds a value that cannot be read"),
        ("server: {port: !!int x}", "holds a value that cannot be read"),
        ("server: {port: !!int 0x" + "f" * 5000 + "}", "must be from 0 to 65535, not one with so many digits"),
        ("server: {port: !!bool x}", "holds a value that cannot be read"),
        ("server: {port: !!timestamp x}", "holds a value that cannot be read"),
        ("server: {port: !!python/object/apply:os.getcwd []}", "is not YAML"),
        ("server: {drain_seconds: " + "9" * 4000 + "}", "server.drain_seconds must be a smaller number"),
        ("server: {host: a..b}", "server.host must be a host name"),
        ("server: {host: " + "a" * 64 + "}", "server.host must be a host name"),
        ("server: {host: '1:2'}", "server.host must be a valid IP address"),
        ("server: {host: 999.1.1.1}", "server.host must be a valid IP address"),
        ("server: {host: 'fe80::1%eth0'}", "server.host must be a valid IP address, without a zone"),
        ('redis: {data_dir: "a\\0b"}', "redis.data_dir must be a path that has no null bytes"),
        ("redis: {data_dir: ' '}", "redis.data_dir must be a path"),
        ("redis: {data_dir: config.yaml}", "redis.data_dir: config.yaml is not a directory"),
        ('redis: {data_dir: "a\\ud800"}', "redis.data_dir must be a string in UTF-8"),
        ('session: {user_secret: "\\ud800aaaaaaaa"}', "session.user_secret must be a string in UTF-8"),
        ("session: {user_secret: '            '}", "session.user_secret must have at least 8 characters"),
        ("session: {user_secret: !!binary aGVsbG8gd29ybGQ=}", "session.user_secret must be a string"),
        ("cookie: {domain: 10.0.0.1}", "cookie.domain must be a domain name"),
        ("cookie: {domain: -example.com}", "cookie.domain must be a domain name"),
        ("cookie: {domain: example.com.}", "cookie.domain must be a domain name"),
        ("cookie: {domain: 'none'}", "cookie.domain must have a dot"),
        ("cookie: {domain: .localhost}", "cookie.domain must have a dot"),
        ("cookie: {path: '/a;b'}", "cookie.path must be a path that begins with / and has only letters"),
        ("tracing: {otlp_endpoint: 'http://collector:0'}", "tracing.otlp_endpoint must have a port from 1 to 65535"),
        (
            "tracing: {otlp_endpoint: 'http://collector:99999'}",
            "tracing.otlp_endpoint must have a port from 1 to 65535",
        ),
        ("tracing: {otlp_endpoint: 'http://a..b:1'}", "tracing.otlp_endpoint must have a host name"),
        ("tracing: {otlp_endpoint: 'http://[::g]:1'}", "tracing.otlp_endpoint must be a URL"),
        ("tracing: {sample_ratio: .nan}", "tracing.sample_ratio must be from 0 to 1"),
        ("redis: {url: 'redis://h?db=x'}", "redis.url has the parameter db, which must be the number"),
        ("a: &a {port: 1}\nserver: {<<: *a}", "uses `<<` near line 2. Write the names out"),
        ("cors: {origins: {a: 1}}", "cors.origins must be a list of strings, not a mapping"),
        (
            "server: {trusted_proxies: [10.0.0.0/8, 5]}",
            "must be a list of strings. Write entry 2 as a string in quotes",
        ),
        ("cors: {request_headers: [[a]]}", "must be a list of strings. Write entry 1 as a string"),
        ("redis: {data_dir: no}", "redis.data_dir must be a string in quotes, not false"),
        ("api_keys: [{name: 2026}]", "api_keys[0].name must be a string in quotes"),
        ("api_keys: [{source: no}]", "api_keys[0].source must be a string in quotes"),
        ("api_keys: [{name: [a]}]", "api_keys[0].name must be a string"),
    ],
)
def test_an_unusable_value_is_rejected(content: str, expected: str) -> None:
    """The error is one sentence with the setting and the expected value."""
    assert [line for line in errors({}, content) if expected in line]


def test_a_small_file_stays_small() -> None:
    """YAML aliases that would expand to gigabytes are not expanded."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for number in range(1, 12):
        bomb += f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n"
    bomb += "server: {port: *a11}\nlog: {level: *a11}\ncors: {origins: *a11}\n"
    bomb += "api_keys: [{name: *a11, sha256: *a11, scopes: *a11, source: *a11, origins: *a11}]\n"
    found = errors({}, bomb)
    assert len("".join(found)) < 5000
    assert "config.yaml: server.port must be a whole number, not a list" in found
    assert any(line.startswith("config.yaml: api_keys[0].scopes must be a list of") for line in found)


MARKS = {
    "plain": (b"", "utf-8"),
    "utf-8": (codecs.BOM_UTF8, "utf-8"),
    "utf-16-le": (codecs.BOM_UTF16_LE, "utf-16-le"),
    "utf-16-be": (codecs.BOM_UTF16_BE, "utf-16-be"),
}


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r\n\r\n"], ids=repr)
@pytest.mark.parametrize("mark", MARKS)
def test_files_of_any_editor_are_read(mark: str, end: str) -> None:
    """Byte order marks and CRLF line ends are not part of a value."""
    before, encoding = MARKS[mark]

    def save(name: str, text: str) -> None:
        Path(name).write_bytes(before + text.encode(encoding))

    save("secret", f"gehéim-😀-secret{end}")
    save("keys", json.dumps([ENTRY], ensure_ascii=False) + end)
    save(
        "own.yaml",
        f"session:{end or ' '}{{source: tv.app}}{end}" if not end else f"session:{end}  source: tv.app{end}",
    )
    settings = load(
        {"JAY_SESSION__USER_SECRET_FILE": "secret", "JAY_API_KEYS_FILE": "keys", "JAY_CONFIG": "own.yaml"}
    ).settings
    assert settings.session.user_secret == "gehéim-😀-secret"
    assert settings.session.source == "tv.app"
    assert [key.name for key in settings.api_keys] == ["web"]


def test_a_variable_may_begin_with_a_byte_order_mark() -> None:
    """A byte order mark at the start of a variable is ignored."""
    settings = load({"JAY_API_KEYS": "\ufeff" + json.dumps([ENTRY]), "JAY_SERVER__PORT": "\ufeff81"}).settings
    assert (len(settings.api_keys), settings.server.port) == (1, 81)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (codecs.BOM_UTF8 + b"\r\n", "is empty"),
        (b"\xff\xfe\xff", "is not text in UTF-8"),
        (b"caf\xe9-secret", "is not text in UTF-8"),
        ("secret-secret".encode("utf-16-le"), "is not text in UTF-8"),
        (codecs.BOM_UTF32_LE + "secret-secret".encode("utf-32-le"), "is not text in UTF-8"),
        (b"x" * (1 << 20) + b"x", "is larger than 1 MiB"),
    ],
)
def test_an_unreadable_secret_is_explained(content: bytes, expected: str) -> None:
    """The error repeats no part of the secret."""
    Path("secret").write_bytes(content)
    (found,) = errors({"JAY_SESSION__USER_SECRET_FILE": "secret"})
    assert found.startswith(f"JAY_SESSION__USER_SECRET_FILE: the file it names {expected}")
    assert "secret-" not in found


def test_a_path_that_is_not_a_file_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a folder, device or missing file does not repeat the path.

    The path may be the secret itself.
    """
    for path, expected in (
        (".", "is a directory. Name the file in it"),
        ("/dev/zero", "larger than 1 MiB"),
        ("x" * 300, "File name too long"),
        ("hunter2-hunter2", "No such file"),
        ("config.yaml/x", "Not a directory"),
    ):
        (found,) = errors({"JAY_SESSION__USER_SECRET_FILE": path})
        assert expected in found
        assert "hunter2" not in found

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError) as caught:
        load({"JAY_SESSION__USER_SECRET_FILE": "x"})
    of_file, of_secret = caught.value.errors
    assert of_file.startswith("config.yaml: cannot be read")
    assert of_secret.startswith("JAY_SESSION__USER_SECRET_FILE: the file it names cannot be read")
    assert "(Permission denied)" in of_file
    assert "(Permission denied)" in of_secret


def test_a_secret_is_the_same_in_every_locale() -> None:
    """The bytes of a secret do not depend on the locale."""
    as_posix = "gehéim-secret".encode().decode("ascii", "surrogateescape")
    assert load({"JAY_SESSION__USER_SECRET": as_posix}).settings.session.user_secret == "gehéim-secret"
    (found,) = errors({"JAY_SESSION__USER_SECRET": os.fsdecode(b"caf\xe9-secret")})
    assert found == "JAY_SESSION__USER_SECRET must be a string in UTF-8"


def test_deeply_nested_json_is_rejected() -> None:
    """Deeply nested JSON is an error and does not crash the parser."""
    assert "must be a JSON list" in errors({"JAY_API_KEYS": "[" * 100_000})[0]


WORDS = r"""
0 1 -1 +1 00 010 1_0 0x1 1.5 .5 1e3 1e999 nan .nan inf .inf 12:30:00 2026-01-31 true yes None null ~ [] {} [1] {a:1}
* & ! | > % @ ` a a.b a..b a_b -a ::1 [::1] 1.2.3.4 999.9.9.9 / // /a /é é 😀 "\ud800" "\0" '' a:b ://
http://a http://a:0 http://a_b:99999/x https://a.example redis://a redis://a:0 rediss://a?ssl_cert_reqs=none
redis://a?db=1 unix:///a unix://a embedded Lax Strict production json text debug 99999999999999999999
65535 100 86400 0.01
"""
ODD = st.sampled_from(["", " ", "\ufeff", "a b", *WORDS.split()])
# Mostly valid values: a rejected value proves nothing in these tests.
FITTING = {
    int: st.one_of(st.integers(0, 10**6).map(str), ODD),
    float: st.one_of(st.floats(0, 100).map(str), ODD),
    str: st.one_of(ODD, st.text(max_size=70)),
}


def values(setting: Setting) -> st.SearchStrategy[str]:
    return FITTING.get(setting.kind, ODD)


async def works(settings: Settings) -> None:
    """Do what `serve` does with settings, without listening and the embedded server."""
    with suppress(ServerError):  # such as the host of another machine
        bind(settings.server).close()
    url = "unix:///nowhere" if settings.redis.url == "embedded" else settings.redis.url
    await build(settings, url, RequestLog(io.StringIO(), as_text=True, is_enabled=True))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.data())
async def test_accepted_variables_are_usable(data: st.DataObject) -> None:
    """Variables that `check-config` accepts work, and others are sentences."""
    some = data.draw(
        st.lists(st.sampled_from(list(all_settings())), max_size=3, unique_by=lambda setting: setting.name)
    )
    environ = {setting.variable: data.draw(values(setting)) for setting in some}
    await accepted_means_usable(environ)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.data())
async def test_an_accepted_file_is_usable(data: st.DataObject) -> None:
    """Any YAML that `check-config` accepts works in the service."""
    setting = data.draw(st.sampled_from(list(all_settings())))
    *sections, name = setting.name.split(".")
    line = f"{name}: {data.draw(values(setting))}"
    for section in reversed(sections):
        line = f"{section}: {{{line}}}"
    save("config.yaml", line)
    await accepted_means_usable({})


def save(name: str, text: str) -> None:
    Path(name).write_text(text, "utf-8")


async def accepted_means_usable(environ: dict[str, str]) -> None:
    try:
        settings = load(environ).settings
    except ConfigError as error:
        assert error.errors
        assert all(error and "Error" not in error for error in error.errors)
    else:
        await works(settings)
