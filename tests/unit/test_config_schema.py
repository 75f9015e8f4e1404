"""The JSON Schema of config.yaml: it is current, and editors find errors by it."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from service.cli import main
from service.config.schema import config_schema, config_schema_json
from service.config.setting_list import all_settings
from service.config.yaml_file import read_yaml

ENTRY = {"name": "web", "sha256": "0" * 64, "scopes": ["track"]}


@pytest.fixture(scope="module")
def validator() -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(config_schema())


def test_the_checked_in_schema_is_current(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`jay-tracking check-config --schema > config.schema.json` changes nothing."""
    assert (project / "config.schema.json").read_text("utf-8") == config_schema_json()
    assert main(["check-config", "--schema"]) == 0
    assert capsys.readouterr().out == config_schema_json()


def test_the_checked_in_file_is_valid(project: Path, validator: jsonschema_rs.Draft7Validator) -> None:
    """config.yaml is valid, and names its schema in the first line for editors."""
    assert validator.is_valid(read_yaml(project / "config.yaml"))
    first, *_ = (project / "config.yaml").read_text("utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=config.schema.json"


def test_every_setting_has_its_help_and_its_default() -> None:
    """An editor shows both, and the default is valid."""
    for setting in all_settings():
        node: Any = config_schema()
        for part in setting.name.split("."):
            node = node["properties"][part]
        assert node["description"] == setting.declaration.help
        assert jsonschema_rs.is_valid(node, node["default"])


@pytest.mark.parametrize(
    "content",
    [
        {"server": None, "redis": {"max_memory": "512MB"}, "cookie": {"domain": None, "same_site": "None"}},
        {"server": {"drain_seconds": 1, "trusted_proxies": ["::1"]}},
        {"api_keys": None},
        {"api_keys": [{**ENTRY, "source": "tv", "origins": ["https://a.example"], "create_limit": "60/minute"}]},
        {"api_keys": [{**ENTRY, "sha256": "AF" * 32}]},
        {"api_keys": [{**ENTRY, "source": None, "origins": None, "create_limit": None}]},
        None,
    ],
)
def test_valid_values_are_valid(content: object, validator: jsonschema_rs.Draft7Validator) -> None:
    """Empty sections, whole numbers for seconds and optional fields are no errors."""
    assert validator.is_valid(content)


@pytest.mark.parametrize(
    "content",
    [
        {"server": {"port": "8080"}},
        {"server": {"port": 65536}},
        {"server": {"port": None}},
        {"server": {"drain_seconds": -1}},
        {"server": {"wrokers": 1}},
        {"sever": {}},
        {"server": []},
        {"server": {"host": ""}},
        {"cookie": {"same_site": "lax"}},
        {"cookie": {"partitioned": "yes"}},
        {"redis": {"key_prefix": "Jay"}},
        {"redis": {"max_memory": "lots"}},
        {"session": {"user_secret": "short"}},
        {"session": {"previous_user_secrets": ["short"]}},
        {"cors": {"origins": "https://a.example"}},
        {"cors": {"request_headers": ["x"] * 33}},
        {"log": {"level": "loud"}},
        {"api_keys": {}},
        {"api_keys": [{"name": "web", "scopes": ["track"]}]},
        {"api_keys": [{**ENTRY, "name": "a b"}]},
        {"api_keys": [{**ENTRY, "sha256": "jay_the-key-itself"}]},
        {"api_keys": [{**ENTRY, "scopes": ["trak"]}]},
        {"api_keys": [{**ENTRY, "scopes": []}]},
        {"api_keys": [{**ENTRY, "orgins": ["https://a.example"]}]},
        {"api_keys": [{**ENTRY, "origins": []}]},
        {"api_keys": [{**ENTRY, "create_limit": "60/min"}]},
    ],
    ids=json.dumps,
)
def test_errors_are_found(content: object, validator: jsonschema_rs.Draft7Validator) -> None:
    """Wrong values, unknown names and wrong entries of api_keys do not validate."""
    assert not validator.is_valid(content)
