import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.api_keys import Gpc, Scope, hash_key
from service.config.cross_field import warnings
from service.config.loading import load
from service.config.redacted_view import effective_settings
from service.config.setting_list import all_settings
from service.config.settings import DEVELOPMENT_REDIS_PASSWORD, ServerSettings, Settings
from service.errors import ConfigError
from service.rate_limits import RateLimit

ENTRY = {"name": "web", "sha256": hash_key("k"), "scopes": ["track"]}
PRODUCTION = {
    "JAY_ENVIRONMENT": "production",
    "JAY_SESSION__USER_SECRET": "a-secret-of-our-own",
    "JAY_API_KEYS": json.dumps([ENTRY]),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def errors(environ: dict[str, str], content: str | None = None) -> tuple[str, ...]:
    if content is not None:
        Path("config.yaml").write_text(content, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return caught.value.errors


def test_defaults_apply_without_a_file_and_variables() -> None:
    """Without a configuration the defaults apply and no API key exists."""
    loaded = load({})
    assert loaded.settings == Settings()
    assert set(loaded.provenance.values()) == {"default"}


def test_the_checked_in_file_is_the_default(project: Path) -> None:
    """`config.yaml` has every setting with its default, and the demo keys."""
    loaded = load({}, project / "config.yaml")
    assert loaded.settings == Settings(api_keys=loaded.settings.api_keys)
    assert {key.name: key.scopes for key in loaded.settings.api_keys} == {
        "demo": {Scope.TRACK},
        "demo-operator": {Scope.VALIDATE, Scope.ANALYTICS, Scope.PRIVACY},
    }
    named = {setting.name for setting in all_settings() if loaded.provenance[setting.name] != "default"}
    assert named == {setting.name for setting in all_settings()}


def test_the_environment_wins_over_the_file() -> None:
    """A variable wins over the file, and the provenance names both."""
    Path("config.yaml").write_text("server: {port: 1000, host: 127.0.0.2}\ncors:\n  # nothing\n", "utf-8")
    loaded = load({"JAY_SERVER__PORT": "2000", "JAY_CORS__ORIGINS": '["https://a.example"]', "HOME": "/"})
    assert (loaded.settings.server.port, loaded.settings.server.host) == (2000, "127.0.0.2")
    assert loaded.settings.cors.origins == ("https://a.example",)
    assert loaded.provenance["server.port"] == "JAY_SERVER__PORT"
    assert loaded.provenance["server.host"] == "config.yaml"


def test_a_file_that_is_passed_wins_over_the_variable() -> None:
    """`--config` wins over JAY_CONFIG, and that wins over `config.yaml`."""
    for name, port in (("config.yaml", 1000), ("variable.yaml", 2000), ("passed.yaml", 3000)):
        Path(name).write_text(f"server: {{port: {port}}}\n", "utf-8")
    variable = {"JAY_CONFIG": "variable.yaml"}
    assert load({}).settings.server.port == 1000
    assert load(variable).settings.server.port == 2000
    assert load(variable, Path("passed.yaml")).settings.server.port == 3000


def test_every_kind_of_value_reads_from_the_environment() -> None:
    """Numbers, booleans, choices, paths, optional strings and keys are parsed."""
    settings = load(
        {
            "JAY_SERVER__DRAIN_SECONDS": "2",
            "JAY_COOKIE__PARTITIONED": "true",
            "JAY_COOKIE__SAME_SITE": "None",
            "JAY_COOKIE__DOMAIN": "example.com",
            "JAY_REDIS__DATA_DIR": "/var/lib/jay",
            "JAY_REDIS__URL": "rediss://u:p%40w@redis.example:6380/3",
            "JAY_API_KEYS": json.dumps(
                [{**ENTRY, "source": "tv.app", "origins": ["https://a.example"], "create_limit": "60/minute"}]
            ),
        }
    ).settings
    assert settings.server.drain_seconds == 2.0
    assert settings.cookie.partitioned
    assert (settings.cookie.same_site, settings.cookie.domain) == ("None", "example.com")
    assert settings.redis.data_dir == Path("/var/lib/jay")
    assert settings.redis.url == "rediss://u:p%40w@redis.example:6380/3"
    assert settings.api_keys[0].source == "tv.app"
    assert settings.api_keys[0].origins == frozenset({"https://a.example"})
    assert settings.api_keys[0].create_limit == RateLimit(60, 60)


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_has_the_usual_forms(value: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """A variable may be `true` or `false` in any case, `1` or `0`."""
    for written in ("true", "True", "TRUE", "1") if value else ("false", "False", "FALSE", "0"):
        assert load({"JAY_COOKIE__PARTITIONED": written}).settings.cookie.partitioned is value
    assert "must be" in errors({"JAY_COOKIE__PARTITIONED": "yes"})[0]


def test_the_variables_of_commands_are_no_settings() -> None:
    """The service ignores the URL and the keys of commands that call it."""
    variables = {"JAY_URL": "https://a.example", "JAY_KEY": "a-key", "JAY_OPERATOR_KEY": "another-key"}
    assert load(variables).settings == Settings()


def test_an_empty_variable_counts_as_unset() -> None:
    """An empty variable counts as unset, because Compose files pass those on."""
    assert load({"JAY_SERVER__PORT": "", "JAY_API_KEYS": ""}).settings == Settings()


@pytest.mark.parametrize(
    "variables",
    [
        {"JAY_REDIS__URL": f"redis://jay:{DEVELOPMENT_REDIS_PASSWORD}@redis:6379/0"},
        {"JAY_REDIS__URL": f"rediss://:{DEVELOPMENT_REDIS_PASSWORD.replace('-', '%2D')}@redis.example"},
        {"JAY_REDIS__URL": f"unix://jay:{DEVELOPMENT_REDIS_PASSWORD}@/run/redis.sock"},
        {"JAY_REDIS_PASSWORD": DEVELOPMENT_REDIS_PASSWORD},
        {"JAY_REDIS_PASSWORD": f"'{DEVELOPMENT_REDIS_PASSWORD}'", "JAY_REDIS__URL": "redis://jay:own@redis"},
    ],
)
def test_production_refuses_the_published_redis_password(variables: dict[str, str]) -> None:
    """Production rejects the published Redis password in every variable."""
    (error,) = errors({**PRODUCTION, **variables})
    assert error.startswith("redis.url has the published password")
    assert "Set JAY_REDIS_PASSWORD" in error
    assert DEVELOPMENT_REDIS_PASSWORD not in error
    assert load(variables).settings.environment == "development"
    assert load({**PRODUCTION, "JAY_REDIS_PASSWORD": "own", "JAY_REDIS__URL": "redis://jay:own@redis"})


def test_a_secret_can_come_from_a_file() -> None:
    """A `_FILE` variable reads the secret without its final line feed.

    Setting the variable and its `_FILE` form together is an error.
    """
    Path("url").write_text("redis://host:1/0\n", "utf-8")
    loaded = load({"JAY_REDIS__URL_FILE": "url"})
    assert loaded.settings.redis.url == "redis://host:1/0"
    assert loaded.provenance["redis.url"] == "JAY_REDIS__URL_FILE"
    assert "JAY_REDIS__URL is set as well" in errors({"JAY_REDIS__URL_FILE": "url", "JAY_REDIS__URL": "embedded"})[0]
    assert "cannot be read" in errors({"JAY_REDIS__URL_FILE": "nowhere"})[0]


def test_all_errors_are_reported_at_once_with_the_nearest_name() -> None:
    """All errors are reported together, each with the nearest valid name."""
    found = errors(
        {"JAY_SERVER__PROT": "1", "JAY_SERVER__PORT": "http", "JAY_REDIS_URL": "x", "JAY_SESSION__TTL_SECONDS": "0"},
        "sever: {port: 1}\nserver: {wrokers: 2, workers: two, drain_seconds: -1}\ncookie: 3\nlog: {level: loud}\n"
        "cors: {origins: ['*']}\nredis: {url: http://redis}\n",
    )
    assert sorted(found) == [
        "JAY_REDIS_URL is not a setting. Did you mean JAY_REDIS__URL?",
        "JAY_SERVER__PORT must be a whole number, not 'http'",
        "JAY_SERVER__PROT is not a setting. Did you mean JAY_SERVER__PORT?",
        "JAY_SESSION__TTL_SECONDS must be from 1 to 34560000, not 0",
        "config.yaml: cookie must be a mapping of names to values",
        "config.yaml: cors.origins entry 1 must not be `*`: pages call with cookies, and browsers then accept exact "
        "origins only",
        "config.yaml: log.level must be one of debug, info, warning, error, not 'loud'",
        "config.yaml: redis.url must be `embedded` or a URL like redis://user:password@host:6379/0, "
        "rediss://host:6380/0, redis+sentinel://host,host,host/NAME/0, redis+cluster://host,host,host or "
        "unix:///run/redis.sock",
        "config.yaml: server.drain_seconds must be from 0 to 60, not -1.0",
        "config.yaml: server.workers must be a whole number, not 'two'",
        "config.yaml: server.wrokers is not a setting. Did you mean server.workers?",
        "config.yaml: sever is not a setting. Did you mean server?",
    ]


def test_kubernetes_variables_are_ignored() -> None:
    """Service variables of Kubernetes are ignored, other unknown ones rejected."""
    load(
        {
            "JAY_TRACKING_PORT": "tcp://10.0.0.1:8080",
            "JAY_TRACKING_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "JAY_TRACKING_PORT_8080_TCP_ADDR": "10.0.0.1",
            "JAY_TRACKING_SERVICE_HOST": "10.0.0.1",
            "JAY_TRACKING_SERVICE_PORT_HTTP": "8080",
        }
    )
    assert "Did you mean JAY_ENVIRONMENT" in errors({"JAY_ENV": "production"})[0]
    assert "is not a setting" in errors({"JAY_PORT": "9000"})[0]


@pytest.mark.parametrize("raw", ["", "\n"])
def test_the_hash_of_an_empty_key_is_an_error(raw: str) -> None:
    """A shell command that hashes an empty variable does not open the service."""
    for sha256 in (hash_key(raw), hash_key(raw).upper()):
        (error,) = errors({"JAY_API_KEYS": json.dumps([{**ENTRY, "sha256": sha256}])})
        assert error.startswith("JAY_API_KEYS[0].sha256 is the hash of an empty string")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("port", "server.port"), ("host", "server.host"), ("url", "redis.url"), ("tls", "server.tls")],
)
def test_a_name_without_its_section_is_completed(name: str, suggestion: str) -> None:
    """The suggestion for a short name is the one setting or section of that name."""
    assert errors({}, f"{name}: 1\n") == (f"config.yaml: {name} is not a setting. Did you mean {suggestion}?",)


def test_a_variable_without_its_section_is_completed() -> None:
    """A variable of Compose that is spelled alike is not suggested."""
    assert errors({"JAY_PORT": "1"}) == ("JAY_PORT is not a setting. Did you mean JAY_SERVER__PORT?",)


def test_every_invalid_entry_of_a_list_is_named() -> None:
    """One start shows all entries of a list that need a change."""
    content = "server: {trusted_proxies: [0.0.0.0/0, 10.0.0.0/8, proxy]}"
    (error,) = errors({}, content)
    assert "trusted_proxies entry 1 must not cover all addresses" in error
    assert ", and entry 3 must be an IP address or a network" in error
    assert "entry 2" not in error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("server:\n\tport: 1\n", "is indented with a tab near line 2. Use spaces"),
        ("server: {port: 1}\n---\nserver: {port: 2}\n", "has a second document near line 2. Remove it"),
        ("server: {port: yes}\n", "server.port must be a whole number, not true"),
        ("server: {port: 010}\n", "server.port must be a whole number, not '010'"),
        ("redis: {timeout_seconds: 010}\n", "redis.timeout_seconds must be a number, not '010'"),
    ],
)
def test_an_error_shows_what_the_file_has(content: str, reason: str) -> None:
    """An error names the cause, and shows a value as the file has it."""
    assert errors({}, content) == (f"config.yaml: {reason}",)


def test_a_duplicate_name_is_an_error() -> None:
    """A name that occurs twice in a file is an error."""
    content = "api_keys: []\nlog: {level: info}\napi_keys: []\n"
    assert errors({}, content) == ("config.yaml: has the same name twice near line 3. Remove one",)


@pytest.mark.parametrize(
    "content",
    [
        "server.port: 1\nserver: {port: 2}\n",
        "server: {port: 2}\nserver.port: 1\n",
        "server.port: x\nserver: {port: 2}\n",
    ],
)
def test_a_setting_in_two_forms_is_an_error(content: str) -> None:
    """A name with its section counts as the same name below the section."""
    assert "config.yaml: server.port is set twice. Remove one" in errors({}, content)


def test_empty_and_unquoted_values_are_explained() -> None:
    """The error for an empty value says what the value must be."""
    found = errors({}, "server: {port: , host: ''}\ncookie: {same_site: }\nsession: {user_secret: 12345678}")
    assert found == (
        "config.yaml: server.port must be a whole number and not empty",
        "config.yaml: server.host must be a string and not empty",
        "config.yaml: cookie.same_site must be one of Lax, Strict, None and not empty",
        "config.yaml: session.user_secret must be a string in quotes",
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://jay:p@ss@localhost/0",
        "redis://jay:pass#1@localhost/0",
        "redis://localhost:x/0",
        "redis://localhost/0?socket_timeout=60",
        "redis://localhost/0?foo=bar",
        "redis://localhost/zero",
        "redis:///0",
        "unix:relative",
        "redis+sentinel://a",
        "localhost:6379",
    ],
)
def test_an_unsafe_redis_url_is_rejected(url: str) -> None:
    """A URL with raw passwords, own timeouts or unsupported parts is rejected."""
    (found,) = errors({"JAY_REDIS__URL": url})
    assert found.startswith("JAY_REDIS__URL ")
    assert "ss#1" not in found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: [", "is not YAML near line 1"),
        ("- a\n- b", "the file must be a mapping"),
        ("server:\n  tls: yes", "server.tls must be a mapping"),
        ("? [1, 2]\n: x", "is not"),
    ],
)
def test_a_broken_file_is_reported_with_its_line(content: str, expected: str) -> None:
    """The error for invalid YAML names the file and the line."""
    assert expected in errors({}, content)[0]


def test_a_named_file_must_exist_and_be_readable() -> None:
    """Only the default file may be missing."""
    assert "no such file" in errors({"JAY_CONFIG": "nowhere.yaml"})[0]
    Path("bytes.yaml").write_bytes(b"\xff\xfe\xff")
    assert "UTF-8" in errors({"JAY_CONFIG": "bytes.yaml"})[0]
    assert "is a directory. Name the file in it" in errors({"JAY_CONFIG": "."})[0]


def test_errors_in_keys_do_not_repeat_the_values() -> None:
    """An error never repeats a value that may be a raw key."""
    raw = "jay_this-is-the-raw-key"
    found = errors(
        {
            "JAY_API_KEYS": json.dumps(
                [
                    {"name": "a b", "sha256": raw, "scopes": ["trak"], "orgins": []},
                    {**ENTRY, "source": "no spaces", "origins": "https://a.example"},
                    raw,
                    {**ENTRY, "scopes": []},
                    {**ENTRY, "origins": ["app://-", "https://a.example/"]},
                    {**ENTRY, "origins": [raw]},
                    {**ENTRY, "origins": []},
                ]
            )
        }
    )
    assert raw not in " ".join(found)
    assert [line.removeprefix("JAY_API_KEYS") for line in found] == [
        "[0].orgins is not a field. Did you mean origins?",
        "[0].name must be 1 to 64 letters, digits or . _ -",
        "[0].sha256 must be the key's SHA-256 in 64 hex digits, never the key itself",
        "[0].scopes must be a list of track, validate, analytics, privacy",
        "[1].source must be 1 to 64 letters, digits or . _ : / -",
        "[1].origins must be a list of exact origins like https://www.example.com",
        "[2] must be a mapping with name, sha256 and scopes",
        "[3].scopes must be a list of track, validate, analytics, privacy",
        "[4].origins entry 2 must be spelled as browsers send it: https://a.example",
        "[5].origins entry 1 must be scheme://host or scheme://host:port, such as https://www.example.com, "
        "http://localhost:3000 or capacitor://localhost",
        "[6].origins must be a list of exact origins like https://www.example.com",
    ]
    assert "JSON list" in errors({"JAY_API_KEYS": raw})[0]
    assert raw not in errors({"JAY_API_KEYS": raw})[0]
    upper = {**ENTRY, "sha256": hash_key("k").upper()}
    for second in (ENTRY, upper):
        assert "same sha256" in errors({"JAY_API_KEYS": json.dumps([ENTRY, second])})[0]
    assert "must be a list" in errors({}, "api_keys: {name: web}")[0]


def test_a_name_that_occurs_twice_in_a_key_is_an_error() -> None:
    """JSON in the environment follows the rule of config.yaml."""
    entry = json.dumps(ENTRY)
    twice = entry.replace("{", '{"name": "other", ', 1)
    assert errors({"JAY_API_KEYS": f"[{entry}, {twice}]"}) == ("JAY_API_KEYS has the same name twice. Remove one",)


def test_cors_lists_are_checked_entry_by_entry() -> None:
    """The first invalid entry of a list is named by its number."""
    settings = load(
        {
            "JAY_CORS__ORIGINS": '["capacitor://localhost", "app://-", "http://[::1]:3000"]',
            "JAY_CORS__REQUEST_HEADERS": '["x-client-version"]',
        }
    ).settings
    assert settings.cors.origins == ("capacitor://localhost", "app://-", "http://[::1]:3000")
    assert settings.cors.request_headers == ("x-client-version",)
    assert errors({"JAY_CORS__ORIGINS": '["app://-", "https://a.example:443"]'}) == (
        "JAY_CORS__ORIGINS entry 2 must be spelled as browsers send it: https://a.example",
    )
    assert errors({"JAY_CORS__REQUEST_HEADERS": "x-client-version"}) == (
        'JAY_CORS__REQUEST_HEADERS must be a JSON list, such as ["x-client-version"]',
    )
    assert errors({}, "cors: {request_headers: [x-fine, '*']}") == (
        "config.yaml: cors.request_headers entry 2 must not be `*`: pages call with cookies, and browsers then read "
        "it as a name",
    )


def test_secrets_are_not_repeated() -> None:
    """Errors repeat neither a password in a URL nor the user secret."""
    found = errors({"JAY_REDIS__URL": "redis://u:hunter2@:x/0", "JAY_SESSION__USER_SECRET": "short"})
    assert len(found) == 2
    assert "hunter2" not in " ".join(found)
    assert "short" not in " ".join(found)


def test_production_rejects_published_secrets(project: Path) -> None:
    """Production rejects the demo keys and the development secret."""
    load(PRODUCTION)
    found = errors({"JAY_ENVIRONMENT": "production", "JAY_CONFIG": str(project / "config.yaml")})
    assert [line.split()[0].rstrip(":") for line in found] == ["api_keys", "api_keys", "session.user_secret"]
    assert "no client has access" in errors({**PRODUCTION, "JAY_API_KEYS": "[]"})[0]


def test_settings_that_contradict_each_other_are_errors() -> None:
    """Settings that are valid alone but not together are an error."""
    found = errors(
        {
            "JAY_SERVER__TLS__CERTIFICATE": "cert.pem",
            "JAY_SESSION__TTL_SECONDS": "200000",
            "JAY_ANALYTICS__RETENTION_DAYS": "1",
        }
    )
    assert len(found) == 2
    assert "go together" in found[0]
    assert "analytics.retention_days" in found[1]
    files = {"JAY_SERVER__TLS__CERTIFICATE": "cert.pem", "JAY_SERVER__TLS__KEY": "key.pem"}
    assert "cannot be used (No such file" in errors(files)[0]
    assert load(files, reads_tls_files=False).settings.server.tls.key == Path("key.pem")
    for name in files:
        assert "go together" in errors({name: files[name]})[0]


def test_counts_are_kept_as_long_as_sessions_live() -> None:
    """The shortest retention is the lifetime, rounded up to whole days."""
    two_days = {"JAY_ANALYTICS__RETENTION_DAYS": "2", "JAY_SESSION__TTL_SECONDS": "172800"}
    assert load(two_days).settings.session.ttl_seconds == 172_800
    (found,) = errors({**two_days, "JAY_SESSION__TTL_SECONDS": "172801"})
    assert "must be at least 3, as" in found


def test_only_an_embedded_server_needs_a_data_directory() -> None:
    """A file in place of the directory is an error for the embedded server only."""
    Path("file").write_text("", "utf-8")
    assert "file is not a directory" in errors({"JAY_REDIS__DATA_DIR": "file"})[0]
    assert load({"JAY_REDIS__DATA_DIR": "missing"}).settings.redis.url == "embedded"
    other = {"JAY_REDIS__DATA_DIR": "file", "JAY_REDIS__URL": "redis://redis.example"}
    assert load(other).settings.redis.data_dir == Path("file")


VARIABLES = st.sampled_from(
    [setting.variable for setting in all_settings()] + [setting.variable + "_FILE" for setting in all_settings()]
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(VARIABLES, st.text(), max_size=5), st.binary(max_size=200))
def test_any_input_gives_settings_or_errors(environ: dict[str, str], content: bytes) -> None:
    """Any variables and any file give settings or a list of errors."""
    Path("config.yaml").write_bytes(content)
    try:
        assert load(environ).settings
    except ConfigError as error:
        assert error.errors


def test_the_embedded_server_has_no_replicas() -> None:
    """With `replicated`, the embedded server would acknowledge no write."""
    variables = {"JAY_REDIS__DURABILITY": "replicated"}
    [error] = errors(variables)
    assert error.startswith("redis.durability: the embedded server has no replicas")
    assert load({**variables, "JAY_REDIS__URL": "redis://localhost"}).settings.redis.durability == "replicated"


def test_the_url_reaches_this_machine() -> None:
    """The URL of a wildcard address is the loopback one, IPv6 in brackets."""
    urls = {host: ServerSettings(host=host).url(80) for host in ("127.0.0.1", "0.0.0.0", "::", "::1", "example.com")}
    assert urls == {
        "127.0.0.1": "http://127.0.0.1:80",
        "0.0.0.0": "http://127.0.0.1:80",
        "::": "http://[::1]:80",
        "::1": "http://[::1]:80",
        "example.com": "http://example.com:80",
    }


@pytest.mark.parametrize("url", ["http://collector:4318", "https://otlp.example.com/base/", "http://[::1]:4318"])
def test_a_collector_address_is_a_base_url(url: str) -> None:
    """The collector's address is a base URL, and the OTLP path is added."""
    settings = load({"JAY_TRACING__OTLP_ENDPOINT": url, "JAY_TRACING__SAMPLE_RATIO": "0.01"}).settings
    assert (settings.tracing.otlp_endpoint, settings.tracing.sample_ratio) == (url, 0.01)


@pytest.mark.parametrize(
    "url",
    [
        "collector:4318",
        "grpc://collector:4317",
        "http://user:canary@collector:4318",
        "http://collector?key=canary",
        "http://collector#canary",
        "http://",
        "http://collector:4318/v1/traces",
        "http://collector:4318/v1/traces/",
    ],
)
def test_a_collector_address_with_credentials_is_rejected(url: str) -> None:
    """The error names the variable for credentials and does not repeat them."""
    (error,) = errors({"JAY_TRACING__OTLP_ENDPOINT": url})
    assert "/v1/traces. The service appends" in error or "OTEL_EXPORTER_OTLP_HEADERS" in error
    assert "canary" not in error


@pytest.mark.parametrize("missing", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"])
def test_traces_need_every_package_of_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The OpenTelemetry API without the SDK and the exporter is an error."""

    def find(name: str) -> str | None:
        return None if name == missing else name

    monkeypatch.setattr("service.config.cross_field.find_spec", find)
    (error,) = errors({"JAY_TRACING__OTLP_ENDPOINT": "http://collector:4318"})
    assert "requirements/otel.txt" in error
    assert load({}).settings.tracing.otlp_endpoint is None


def test_previous_user_secrets_come_as_a_list(tmp_path: Path) -> None:
    """A list of secrets is JSON in a variable, and errors repeat none of them."""
    file = tmp_path / "secrets"
    file.write_text('["hunter2-hunter2", "hunter3-hunter3"]\n')
    for variables in (
        {"JAY_SESSION__PREVIOUS_USER_SECRETS": file.read_text()},
        {"JAY_SESSION__PREVIOUS_USER_SECRETS_FILE": str(file)},
    ):
        settings = load(variables).settings
        assert settings.session.previous_user_secrets == ("hunter2-hunter2", "hunter3-hunter3")
        assert "hunter" not in str(effective_settings(settings))
    for value in ('["hunter2-hunter2", "hunter"]', '"hunter2-hunter2"', "hunter2-hunter2", "[7]"):
        (text,) = errors({"JAY_SESSION__PREVIOUS_USER_SECRETS": value})
        assert text.startswith("JAY_SESSION__PREVIOUS_USER_SECRETS")
        assert "hunter" not in text


@pytest.mark.parametrize("value", ["10.0.0.0/8", "127.0.0.1", "::1", "2001:db8::/32"])
def test_trusted_proxies_are_addresses_and_networks(value: str) -> None:
    """Addresses and networks of both IP versions are accepted."""
    assert load({"JAY_SERVER__TRUSTED_PROXIES": json.dumps([value])}).settings.server.trusted_proxies == (value,)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("nginx", "IP address"),
        ("10.0.0.0/33", "IP address"),
        ("0.0.0.0/0", "all addresses"),
        ("::/0", "all addresses"),
        ("", "IP address"),
        ("::ffff:10.0.0.1", "in the form of IPv4: 10.0.0.1"),
        ("::ffff:10.0.0.0/120", "in the form of IPv4: 10.0.0.0/24"),
        ("::ffff:0:0/96", "all addresses"),
    ],
)
def test_trusted_proxies_reject_names_and_everything(value: str, hint: str) -> None:
    """Names, networks of all addresses and IPv4 in IPv6 are rejected with a hint."""
    (error,) = errors({"JAY_SERVER__TRUSTED_PROXIES": json.dumps(["::1", value])})
    assert error.startswith("JAY_SERVER__TRUSTED_PROXIES entry 2 ")
    assert hint in error


def test_the_hash_of_a_key_may_have_upper_case() -> None:
    """Get-FileHash of PowerShell writes digits in upper case."""
    settings = load({"JAY_API_KEYS": json.dumps([{**ENTRY, "sha256": hash_key("k").upper()}])}).settings
    assert settings.api_keys[0].sha256 == hash_key("k")


@pytest.mark.parametrize("limit", ["60", "60/min", 60, ["60/minute"], "", True])
def test_a_misspelled_create_limit_is_an_error(limit: object) -> None:
    """A `create_limit` that cannot be parsed is an error."""
    (error,) = errors({"JAY_API_KEYS": json.dumps([{**ENTRY, "create_limit": limit}])})
    assert "create_limit must be a count" in error
    assert "60/minute" in error


@pytest.mark.parametrize("reveal", [[], ["user_id"], ["session_id", "user_id"], None])
def test_a_key_may_reveal_ids(reveal: list[str] | None) -> None:
    """`reveal` is a list of ids, and empty by default."""
    settings = load({"JAY_API_KEYS": json.dumps([{**ENTRY, "reveal": reveal}])}).settings
    assert settings.api_keys[0].reveal == frozenset(reveal or ())


@pytest.mark.parametrize("reveal", ["user_id", ["user"], [1], {}, True, [["user_id"]]])
def test_a_misspelled_reveal_is_an_error(reveal: object) -> None:
    """A `reveal` with any other value is an error that lists the ids."""
    (error,) = errors({"JAY_API_KEYS": json.dumps([{**ENTRY, "reveal": reveal}])})
    assert error.endswith("reveal must be a list of session_id, user_id")


@pytest.mark.parametrize("gpc", ["Guest", "1", 1, True, ["guest"], ""])
def test_a_misspelled_gpc_is_an_error(gpc: object) -> None:
    """`gpc` is `ignore` or `guest`."""
    (error,) = errors({"JAY_API_KEYS": json.dumps([{**ENTRY, "gpc": gpc}])})
    assert "gpc must be ignore or guest" in error


@pytest.mark.parametrize(
    ("more", "gpc"),
    [({}, Gpc.IGNORE), ({"gpc": None}, Gpc.IGNORE), ({"gpc": "ignore"}, Gpc.IGNORE), ({"gpc": "guest"}, Gpc.GUEST)],
)
def test_a_key_ignores_gpc_by_default(more: dict[str, str | None], gpc: Gpc) -> None:
    """Only `gpc: guest` makes a guest of a visitor who opted out."""
    (key,) = load({"JAY_API_KEYS": json.dumps([{**ENTRY, **more}])}).settings.api_keys
    assert key.gpc is gpc


@pytest.mark.parametrize(
    "value", ["privacy@example.com", "a.b+c@mail.example.com", "https://www.example.com/privacy?a=1"]
)
def test_a_contact_is_an_address_or_a_page(value: str) -> None:
    """Email addresses and https URLs are contacts."""
    assert load({"JAY_PRIVACY__CONTACT": value}).settings.privacy.contact == value


@pytest.mark.parametrize(
    "value",
    [
        *(
            "me",
            "a b@example.com",
            "@example.com",
            "a@localhost",
            "a@-x.com",
            "a@b@example.com",
            "mailto:a@example.com",
        ),
        *(
            "http://www.example.com",
            "https://",
            "https://user@example.com/",
            "https://example.com:99999/",
            "https://a b/",
        ),
        *("javascript:alert(1)", "https://example.com/" + "x" * 500, "https://[::1/"),
    ],
)
def test_other_contacts_are_errors(value: str) -> None:
    """Contact and objection page are checked, because pages link to them."""
    (error,) = errors({"JAY_PRIVACY__CONTACT": value})
    assert "https://" in error
    (error,) = errors({"JAY_PRIVACY__OBJECTION_URL": value})
    assert "must be a URL that begins with https://" in error


@pytest.mark.parametrize("same_site", ["Lax", "Strict", "None"])
def test_a_partitioned_cookie_needs_pages_of_other_sites(same_site: str) -> None:
    """`Partitioned` without `SameSite=None` gets a warning."""
    settings = load({"JAY_COOKIE__PARTITIONED": "true", "JAY_COOKIE__SAME_SITE": same_site}).settings
    found = list(warnings(settings))
    assert len(found) == (same_site != "None")
    assert all(f"cookie.same_site: {same_site}" in sentence for sentence in found)
    assert not list(warnings(load({"JAY_COOKIE__SAME_SITE": same_site}).settings))


def test_production_warns_about_public_keys_without_a_limit() -> None:
    """Production warns about public keys that have no limit."""
    entries = [
        {**ENTRY, "name": "limited", "create_limit": "60/minute"},
        {**ENTRY, "name": "open", "sha256": hash_key("open")},
        {**ENTRY, "name": "operator", "sha256": hash_key("operator"), "scopes": ["analytics"]},
    ]
    settings = load({**PRODUCTION, "JAY_API_KEYS": json.dumps(entries)}).settings
    (warning,) = warnings(settings)
    assert "`open`" in warning
    assert "create_limit" in warning
    assert not list(warnings(dataclasses.replace(settings, environment="development")))


@pytest.mark.parametrize(
    ("host", "is_warned"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("10.1.2.3", True),
        ("api", True),
    ],
)
def test_development_warns_where_other_machines_can_call(host: str, is_warned: bool, project: Path) -> None:  # noqa: FBT001
    """Development warns when other machines can reach the service."""
    settings = load({"JAY_SERVER__HOST": host, "JAY_CONFIG": str(project / "config.yaml")}).settings
    found = list(warnings(settings))
    assert bool(found) is is_warned
    assert all("JAY_ENVIRONMENT=production" in warning for warning in found)
