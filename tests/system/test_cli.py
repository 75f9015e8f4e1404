"""The commands beside `serve`: their output and exit status."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml

from service import __version__
from service.api.handlers.openapi import openapi_yaml
from service.api_keys import hash_key
from service.config.loading import load
from service.config.setting_list import all_settings
from service.config.settings import DEVELOPMENT_USER_SECRET
from service.digests import SessionRefs
from tests.support.certificates import Authority
from tests.support.processes import Launch, command

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Return a function that runs the program. Keywords are environment variables."""

    def run_it(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run_it


def test_ref_prints_the_ref_of_a_session(run: Run) -> None:
    """`ref` prints the ref under the configured secret, and rejects other strings."""
    session_id = "550e8400-e29b-41d4-a716-446655440000"
    done = run("ref", session_id.upper(), JAY_SESSION__USER_SECRET="a-secret-of-ours")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{SessionRefs('a-secret-of-ours')(session_id)}\n", "")
    rejected = run("ref", session_id.replace("-", ""))
    assert rejected.returncode == 2
    assert "must be a session id" in rejected.stderr
    assert session_id.replace("-", "") not in rejected.stderr


def test_ref_warns_about_the_published_secret(run: Run) -> None:
    """Under the published secret, standard output has only the ref."""
    session_id = "550e8400-e29b-41d4-a716-446655440000"
    done = run("ref", session_id)
    assert (done.returncode, done.stdout) == (0, f"{SessionRefs(DEVELOPMENT_USER_SECRET)(session_id)}\n")
    assert done.stderr.startswith("warning: session.user_secret")
    assert done.stderr.count("\n") == 1


def test_check_config_shows_every_setting_and_its_source(run: Run) -> None:
    """`check-config` prints every setting with its source and masks secrets."""
    done = run(
        "check-config",
        JAY_REDIS__URL="rediss://jay:hunter2@redis.example:6379/1?ssl_cert_reqs=none",
        JAY_SESSION__USER_SECRET="hunter4-secret",
        JAY_COOKIE__PARTITIONED="true",
        JAY_COOKIE__SAME_SITE="None",
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    assert list(rows) == [setting.name for setting in all_settings()]
    assert "hunter" not in done.stdout
    assert rows["redis.url"].split() == ["rediss://jay:***@redis.example:6379/1?***", "JAY_REDIS__URL"]
    assert rows["session.user_secret"].split() == ["(secret)", "JAY_SESSION__USER_SECRET"]
    assert rows["cookie.partitioned"].split() == ["true", "JAY_COOKIE__PARTITIONED"]
    assert rows["cookie.domain"].split()[0] == "-"
    assert rows["cors.origins"].split()[0] == rows["session.previous_user_secrets"].split()[0] == "[]"
    assert "demo (track)" in rows["api_keys"]


def test_check_config_warns_about_the_certificate_for_redis(run: Run, authority: Authority) -> None:
    """`check-config` warns when the certificate for Redis has expired or soon will."""
    url = f"rediss://redis.example?{urlencode(authority.client_parameters)}"
    assert run("check-config", JAY_REDIS__URL=url).stderr == ""
    authority.issue(days=5)
    done = run("check-config", JAY_REDIS__URL=url)
    assert done.returncode == 0
    found = re.fullmatch(
        r"warning: redis.url: the certificate in ssl_certfile is valid from (\S+) to (\S+). Renew it\n", done.stderr
    )
    assert found
    first, last = map(date.fromisoformat, found.groups())
    assert last - first == timedelta(days=6)  # issued a day ago


def test_check_config_warns_about_risks(run: Run) -> None:
    """Each valid setting that is a risk has a line on standard error, with status 0."""
    done = run("check-config", JAY_SERVER__HOST="0.0.0.0", JAY_COOKIE__PARTITIONED="true")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["warning:"] * 2
    assert "published demo keys" in lines[0]
    assert "cookie.partitioned has no effect" in lines[1]
    assert "warning:" not in done.stdout


@pytest.mark.parametrize("name", ["serve", "check-config", "healthcheck"])
def test_all_configuration_errors_are_printed_at_once(run: Run, name: str) -> None:
    """All configuration errors are printed at once, with exit status 2."""
    done = run(name, JAY_SERVER__PORT="http", JAY_SERVER__WROKERS="2")
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(done.stderr.splitlines()) == [
        "configuration: JAY_SERVER__PORT must be a whole number, not 'http'",
        "configuration: JAY_SERVER__WROKERS is not a setting. Did you mean JAY_SERVER__WORKERS?",
    ]


def test_a_new_key_works_as_pasted(run: Run, tmp_path: Path) -> None:
    """The printed entry and variable are valid configuration with the key's hash."""
    done = run("keys", "new", "tv", "--scope", "validate", "--scope", "track", "--scope", "track")
    raw = re.search(r"jay_\S+", done.stdout)
    entry = done.stdout[done.stdout.index("  - name") :].partition("\n\n")[0]
    (parsed,) = yaml.safe_load(entry)
    assert raw is not None
    assert parsed == {"name": "tv", "sha256": hash_key(raw[0]), "scopes": ["track", "validate"]}
    (tmp_path / "own.yaml").write_text(f"api_keys:\n{entry}\n")
    from_file = load({}, tmp_path / "own.yaml").settings.api_keys
    (words,) = [shlex.split(line) for line in done.stdout.splitlines() if "JAY_API_KEYS=" in line]
    name, _, value = words[0].partition("=")
    (tmp_path / "own.yaml").write_text("")
    assert load({name: value}, tmp_path / "own.yaml").settings.api_keys == from_file
    assert from_file[0].name == "tv"


@pytest.mark.parametrize(
    "name", ["2026", "no", "null", "1.5", "1e3", ".inf", "-", "---", "...", "2026-01-01", "0x1f"]
)
def test_a_new_key_may_have_a_name_that_yaml_reads_as_another_value(run: Run, tmp_path: Path, name: str) -> None:
    """The printed entry has the name in quotes where YAML needs them."""
    done = run("keys", "new", "--", name)
    entry = done.stdout.partition("config.yaml:\n\n")[2].partition("\n\n")[0]
    assert yaml.safe_load(entry)[0]["name"] == name
    (tmp_path / "own.yaml").write_text(f"api_keys:\n{entry}\n")
    assert load({}, tmp_path / "own.yaml").settings.api_keys[0].name == name


@pytest.mark.parametrize(("scopes", "lines"), [((), 1), (("track", "validate"), 1), (("analytics", "privacy"), 0)])
def test_keys_new_names_the_settings_of_keys_in_pages(run: Run, scopes: tuple[str, ...], lines: int) -> None:
    """Standard error names settings for a key in a page, and where to read on."""
    done = run("keys", "new", "web", *(word for scope in scopes for word in ("--scope", scope)))
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == lines
    assert "create_limit" not in done.stdout
    if lines:
        assert "origins and create_limit" in done.stderr
        heading = done.stderr.strip().rpartition("docs/operations.md, ")[2]
        assert f"\n### {heading}\n" in (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")


def test_keys_new_rejects_an_invalid_name(run: Run) -> None:
    """`keys new` rejects a name that the configuration would reject."""
    done = run("keys", "new", "my tv")
    assert done.returncode == 2
    assert "letters, digits" in done.stderr


def test_healthcheck_follows_readiness(run: Run, launch: Launch) -> None:
    """`healthcheck` exits with 0 when the service is ready and with 1 otherwise.

    It waits 3 s for an answer.
    """
    process = launch(JAY_REDIS__TIMEOUT_SECONDS="0.25")
    own = {"JAY_SERVER__PORT": process.url.rpartition(":")[2]}
    assert run("healthcheck", **own).returncode == 0
    os.kill(process.valkey_pid, signal.SIGSTOP)
    done = run("healthcheck", "--url", process.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not ready: it cannot use Redis" in done.stderr
    assert run("healthcheck", "--url", process.url, "--live").returncode == 0
    os.kill(process.valkey_pid, signal.SIGCONT)
    process.stop()
    done = run("healthcheck", "--url", process.url)
    assert done.returncode == 1
    assert "Is the service running?" in done.stderr
    rejected = run("healthcheck", "--url", "localhost", JAY_URL=process.url).stderr
    assert "must be like" in rejected
    assert "(--url)" in rejected
    assert "JAY_URL" not in rejected


def test_a_free_port_is_no_url(run: Run) -> None:
    """With `server.port: 0`, a command asks for the URL and names the setting."""
    free = {"JAY_SERVER__PORT": "0"}
    done = run("healthcheck", **free)
    assert (done.returncode, done.stdout) == (1, "")
    assert "server.port is 0" in done.stderr
    assert done.stderr.endswith("with --url\n")
    for arguments in (("counts",), ("users", "show", "u"), ("doctor",), ("demo",), ("torture",)):
        done = run(*arguments, **free)
        assert (done.returncode, done.stdout) == (1, "")
        assert "server.port is 0" in done.stderr
        assert done.stderr.endswith("with --url or in JAY_URL\n")


def test_the_api_reference_can_be_printed(run: Run) -> None:
    """`openapi` prints the document as YAML or JSON and needs no configuration."""
    written, as_json = run("openapi", JAY_CONFIG="nowhere"), run("openapi", "--json", JAY_CONFIG="nowhere")
    assert (written.returncode, as_json.returncode) == (0, 0)
    assert written.stdout == openapi_yaml()
    assert json.loads(as_json.stdout) == yaml.safe_load(written.stdout)


def test_help_and_version(run: Run) -> None:
    """Every command has a help page, and `--version` prints the version."""
    assert run("--version").stdout == f"jay-tracking {__version__}\n"
    shown = run("--help").stdout
    for name in ("serve", "check-config", "healthcheck", "openapi", "keys"):
        assert name in shown
        assert run(name, "--help").returncode == 0
    assert run().returncode == 2
