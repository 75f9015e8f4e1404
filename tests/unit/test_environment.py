from pathlib import Path

import pytest

from service.config.environment import COMPOSE_VARIABLES, own_variables
from service.config.loading import load
from service.config.settings import Settings
from service.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ("'single'", "single"),
        ('"double"', "double"),
        ("  spaces\r", "spaces"),
        ('\'["a", "b"]\'', '["a", "b"]'),
        ('["a", "b"]', '["a", "b"]'),
        ("'it's'", "'it's'"),
        ("'", "'"),
        ("'\"", "'\""),
    ],
)
def test_one_pair_of_quotes_around_a_value_is_removed(written: str, value: str) -> None:
    """One pair of quotes around a value is removed, other quotes are kept.

    `docker run --env-file` keeps the quotes that Compose and shells remove.
    """
    assert own_variables({"JAY_X": written}) == {"JAY_X": value}


@pytest.mark.parametrize("empty", ["", " ", "''", '""', "\r"])
def test_a_value_that_is_empty_without_its_quotes_counts_as_unset(empty: str) -> None:
    """A value of two quotes counts as unset, also for `JAY_CONFIG`."""
    assert own_variables({"JAY_X": empty}) == {}
    assert load({"JAY_SERVER__PORT": empty, "JAY_CONFIG": empty}).settings == Settings()


def test_only_variables_of_the_service_are_returned() -> None:
    """Variables without the service's prefix are not returned."""
    assert own_variables({"HOME": "/", "JAY": "x", "jay_x": "y"}) == {}


def test_variables_of_the_compose_file_are_skipped() -> None:
    """Variables of Compose files are skipped, so the service accepts their `.env`."""
    assert load(dict.fromkeys(COMPOSE_VARIABLES, "x")).settings == Settings()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("JAY_USER_SECRET", "JAY_SESSION__USER_SECRET"),
        ("JAY_CORS_ORIGINS", "JAY_CORS__ORIGINS"),
        ("JAY_OTLP_ENDPOINT", "JAY_TRACING__OTLP_ENDPOINT"),
        ("JAY_SAMPLE_RATIO", "JAY_TRACING__SAMPLE_RATIO"),
        ("JAY_REDIS_PASWORD", "JAY_REDIS_PASSWORD"),
    ],
)
def test_an_old_name_is_answered_with_the_new_one(old: str, new: str) -> None:
    """The error for an old name of the Compose file names the current one."""
    with pytest.raises(ConfigError, match=f"{old} is not a setting. Did you mean {new}\\?"):
        load({old: "x"})
