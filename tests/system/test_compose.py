"""docker-compose.yml: which settings reach the service, and how they are reloaded."""

import json
import re
import shutil
import signal
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from service.api_keys import hash_key
from service.config.environment import COMPOSE_VARIABLES
from service.config.loading import load
from service.config.setting_list import all_settings
from service.config.settings import DEVELOPMENT_REDIS_PASSWORD, Settings
from service.server.application import _EXIT_SECONDS
from service.storage.memory_limit import allowed_bytes
from tests.support import compose
from tests.support.processes import KEY, Launch, eventually

EVERY_SETTING = {
    "JAY_ENVIRONMENT": "production",
    "JAY_SESSION__USER_SECRET": "0123456789abcdef",
    "JAY_API_KEYS": json.dumps([{"name": "web", "sha256": hash_key("k"), "scopes": ["track"]}]),
    "JAY_CORS__ORIGINS": json.dumps(["https://a.example", "https://b.example"]),
}
PARSERS = ["compose", "docker run", "shell"]


@pytest.fixture
def folder(project: Path, tmp_path: Path) -> Path:
    """Return a folder with docker-compose.yml and config.yaml."""
    return compose.copy_of(project, tmp_path / "server")


def test_without_a_dotenv_compose_sets_four_variables(folder: Path) -> None:
    """Without a .env compose sets only the Redis URL, the file and image defaults."""
    api = compose.up(folder)["api"]
    assert api.environment == {
        "JAY_SERVER__HOST": "0.0.0.0",
        "JAY_REDIS__DATA_DIR": "/data",
        "JAY_CONFIG": "config.yaml",
        "JAY_REDIS__URL": f"redis://jay:{DEVELOPMENT_REDIS_PASSWORD}@redis:6379/0",
    }
    assert api.values("-p") == ["127.0.0.1:8080:8080"]
    assert "--init" in api.arguments


def test_compose_keeps_the_variables_of_the_image(project: Path) -> None:
    """Compose repeats the image's variables, because Docker would remove them."""
    declared = yaml.safe_load((project / "docker-compose.yml").read_text("utf-8"))["services"]["api"]["environment"]
    of_the_image = dict(re.findall(r" (JAY_\w+)=(\S+)", (project / "Dockerfile").read_text("utf-8")))
    assert of_the_image
    for name, value in of_the_image.items():
        assert declared[name] == f"${{{name}:-{value}}}"


def test_every_setting_in_a_dotenv_reaches_the_service(folder: Path) -> None:
    """Every setting in .env reaches the service with its name and value."""
    values = {
        setting.variable: EVERY_SETTING.get(setting.variable, f"value-{setting.name}") for setting in all_settings()
    }
    values |= {"JAY_SERVER__PORT": "9000", "JAY_API_KEYS_FILE": "keys.json", "OTEL_SERVICE_NAME": "jay"}
    (folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    api = compose.up(folder)["api"]
    assert {name: api.environment.get(name) for name in values} == values
    assert api.values("-p") == ["127.0.0.1:9000:9000"]


def test_every_setting_reaches_the_service_from_a_file_and_the_shell(folder: Path) -> None:
    """Settings also reach the service from another --env-file and from the shell."""
    values = {setting.variable: f"value-{setting.name}" for setting in all_settings()} | {"JAY_SERVER__PORT": "9000"}
    (folder / "other.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    for api in (compose.up(folder, "--env-file", "other.env")["api"], compose.up(folder, **values)["api"]):
        assert {name: api.environment.get(name) for name in values} == values


def test_the_shell_takes_precedence_over_the_dotenv(folder: Path) -> None:
    """A variable of the shell takes precedence over .env."""
    (folder / ".env").write_text("JAY_LOG__LEVEL=error\nJAY_SERVER__WORKERS=2\n")
    api = compose.up(folder, JAY_LOG__LEVEL="debug")["api"]
    assert api.environment["JAY_LOG__LEVEL"] == "debug"
    assert api.environment["JAY_SERVER__WORKERS"] == "2"


def test_another_redis_can_be_configured(folder: Path) -> None:
    """Another Redis is set in .env, or in config.yaml when .env leaves it empty."""
    (folder / ".env").write_text("JAY_REDIS__URL=rediss://user:p%40ss@redis.example:6380/1\n")
    assert compose.up(folder)["api"].environment["JAY_REDIS__URL"] == "rediss://user:p%40ss@redis.example:6380/1"
    (folder / ".env").write_text("JAY_REDIS__URL=\n")
    (folder / "config.yaml").write_text("redis: {url: redis://other.example/0}\n")
    assert load(compose.up(folder)["api"].environment, folder / "config.yaml").settings.redis.url == (
        "redis://other.example/0"
    )


def test_variables_of_the_compose_file_do_not_stop_the_service(project: Path, folder: Path) -> None:
    """The service accepts exactly the variables that only the compose files use."""
    files = ("docker-compose.yml", "deploy/cluster/compose.yaml")
    read = {name for file in files for name in re.findall(r"\$\{(JAY_\w+)", (project / file).read_text("utf-8"))}
    settings = {setting.variable for setting in all_settings()}
    assert read - settings - {"JAY_CONFIG"} == COMPOSE_VARIABLES
    (folder / ".env").write_text(
        "".join(f"{name}=./value\n" for name in sorted(COMPOSE_VARIABLES - {"JAY_REDIS_PASSWORD"}))
    )
    environment = compose.up(folder)["api"].environment
    assert environment.keys() >= COMPOSE_VARIABLES - {"JAY_REDIS_PASSWORD"}
    assert load(environment, folder / "config.yaml").settings.redis.url.endswith("@redis:6379/0")


def test_the_settings_of_the_redis_container_apply(folder: Path) -> None:
    """Password, key prefix and image of the Redis container can be set."""
    (folder / ".env").write_text(
        "JAY_REDIS_PASSWORD=secret123\nJAY_REDIS__KEY_PREFIX=abc\nJAY_REDIS_IMAGE=redis:7.2@sha256:00\n"
    )
    containers = compose.up(folder)
    redis = containers["redis"]
    assert {">secret123", "~abc*", "redis:7.2@sha256:00"} <= set(redis.arguments)
    assert redis.environment["REDISCLI_AUTH"] == redis.environment["VALKEYCLI_AUTH"] == "secret123"
    assert containers["api"].environment["JAY_REDIS__URL"] == "redis://jay:secret123@redis:6379/0"


@pytest.mark.parametrize(
    ("max_memory", "expected"),
    [("", str(allowed_bytes() // 2)), ("half", str(allowed_bytes() // 2)), ("512mb", "512mb")],
)
def test_the_store_gets_a_memory_limit(folder: Path, tmp_path: Path, max_memory: str, expected: str) -> None:
    """The memory limit of Redis is the setting, or half of the allowed memory."""
    (folder / ".env").write_text(f"JAY_REDIS__MAX_MEMORY={max_memory}\n")
    redis = compose.up(folder)["redis"]
    (entry_point,) = redis.values("--entrypoint")
    image = redis.arguments.index("docker.io/valkey/valkey:8.1")
    fake_entry_point = tmp_path / "bin" / "docker-entrypoint.sh"
    fake_entry_point.parent.mkdir()
    fake_entry_point.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake_entry_point.chmod(0o755)
    shown = subprocess.run(
        [*json.loads(entry_point), *redis.arguments[image + 1 :]],
        env={"PATH": f"{fake_entry_point.parent}:/usr/bin:/bin", **redis.environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[0] == "--appendonly"
    assert shown[-2:] == ["--maxmemory", expected]
    assert shown[shown.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_grace_period_leaves_the_shutdown_to_the_settings(project: Path) -> None:
    """Compose waits longer than the longest shutdown that the settings allow."""
    services = yaml.safe_load((project / "docker-compose.yml").read_text("utf-8"))["services"]
    grace: str = services["api"]["stop_grace_period"]
    server = json.loads((project / "config.schema.json").read_text("utf-8"))["properties"]["server"]["properties"]
    longest = server["drain_seconds"]["maximum"] + server["shutdown_seconds"]["maximum"]
    assert int(grace.removesuffix("s")) > longest + _EXIT_SECONDS


class _Engine(BaseHTTPRequestHandler):
    """The part of a Docker engine that `docker create` needs.

    It records the environment of the container.
    """

    created: ClassVar[dict[str, str]] = {}

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Api-Version", "1.43")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer(200, {})

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.created.update(pair.split("=", 1) for pair in asked["Env"])
        self._answer(201, {"Id": "0", "Warnings": []})

    def address_string(self) -> str:
        return "docker"

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], dict[str, str]]]:
    """Return a reader of .env files: Docker's command line with a fake engine."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    place = tmp_path_factory.mktemp("d") / "s"
    _Engine.created.clear()
    with socketserver.ThreadingUnixStreamServer(str(place), _Engine) as engine:
        thread = threading.Thread(target=engine.serve_forever)
        thread.start()

        def read(file: Path) -> dict[str, str]:
            subprocess.run(
                ["docker", "create", "--env-file", str(file), "image"],
                env={**compose.plain_environment(), "DOCKER_HOST": f"unix://{place}", "HOME": str(place.parent)},
                check=True,
                capture_output=True,
                timeout=60,
            )
            return dict(_Engine.created)

        yield read
        engine.shutdown()
        thread.join()


def in_a_shell(file: Path) -> dict[str, str]:
    """Return the variables that a shell exports after it has read the file."""
    script = f"set -a; . '{file}'; set +a; exec env -0"
    shown = subprocess.run(
        ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, check=True, capture_output=True
    ).stdout
    return dict(pair.split("=", 1) for pair in shown.decode().split("\0") if pair)


Read = Callable[[Path], dict[str, str]]


@pytest.fixture(params=PARSERS)
def read(request: pytest.FixtureRequest) -> Read:
    """Read a .env as compose, `docker run --env-file` and a shell do."""
    if request.param == "docker run":
        docker: Read = request.getfixturevalue("docker")
        return docker
    return in_a_shell if request.param == "shell" else lambda file: compose.up(file.parent)["api"].environment


def test_one_dotenv_means_the_same_to_compose_docker_and_a_shell(folder: Path, read: Read) -> None:
    """A .env written by the documented rules has the same values in all readers."""
    values = {
        **EVERY_SETTING,
        "JAY_REDIS__URL": "rediss://user:p%27%5C%24w@redis.example:6380/1",
        "JAY_SERVER__DRAIN_SECONDS": "2.5",
        "JAY_COOKIE__PARTITIONED": "true",
        "JAY_COOKIE__SAME_SITE": "None",
        "JAY_SERVER__HOST": "0.0.0.0",
        "JAY_REDIS__DATA_DIR": "/data",
        "JAY_REDIS_PASSWORD": "letters123",
    }
    lines = [
        f"{name}='{value}'" if set(value) & set("\"' #") else f"{name}={value}" for name, value in values.items()
    ]
    (folder / ".env").write_text("# A comment with 'quotes' and $dollars.\n\n" + "\n".join(lines) + "\n")
    loaded = load(read(folder / ".env"), folder / "config.yaml")
    assert loaded.settings == load(values, folder / "config.yaml").settings
    assert loaded.settings.cors.origins == ("https://a.example", "https://b.example")
    assert loaded.settings.api_keys[0].name == "web"
    assert {name for name, origin in loaded.provenance.items() if origin.startswith("JAY_")} == {
        setting.name for setting in all_settings() if setting.variable in values
    }


def documented_block(project: Path, start: str) -> str:
    """Return the shell block of docs/operations.md that starts with a line."""
    blocks: list[str] = re.findall(
        r"```sh\n(.*?)```", (project / "docs" / "operations.md").read_text("utf-8"), re.DOTALL
    )
    return next(block for block in blocks if block.startswith(start))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_documented_dotenv_works_as_pasted(project: Path, folder: Path, read: Read) -> None:
    """The documented .env is private and lacks only API keys for production."""
    lines = documented_block(project, "(umask 077; cat > .env)").splitlines()
    assert lines.pop() == "docker compose run --rm --no-deps api keys new web-player"
    subprocess.run(["sh", "-euc", "\n".join(lines)], cwd=folder, check=True)
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    entry = f"{{name: web-player, sha256: {hash_key('k')}, scopes: [track]}}"
    (folder / "config.yaml").write_text(f"api_keys: [{entry}]\n")
    settings = load(read(folder / ".env"), folder / "config.yaml").settings
    assert settings.environment == "production"
    assert settings.cors.origins == ("https://www.example.com",)
    assert len(settings.session.user_secret) == 64
    assert settings.session.user_secret != Settings().session.user_secret


def replace(file: Path, content: str) -> None:
    """Write a file as most editors do: write a new file and rename it."""
    new = file.with_suffix(".new")
    new.write_text(content)
    new.replace(file)


def test_the_documented_rotation_of_keys_works_in_compose(folder: Path, launch: Launch, tmp_path: Path) -> None:
    """SIGHUP reloads a config.yaml that an editor has replaced in the folder."""
    api = compose.up(folder)["api"]
    source, target, mode = api.values("-v")[0].rsplit(":", 2)
    assert (api.values("-w"), mode) == ([target], "ro")
    # A link is another path to the folder, like a bind mount.
    (tmp_path / "mounted").symlink_to(source)

    def entry(raw: str) -> str:
        return f"{{name: web-player, sha256: {hash_key(raw)}, scopes: [track]}}"

    replace(folder / "config.yaml", f"session: {{source: tv.app}}\napi_keys: [{entry(KEY)}]\n")
    inside = tmp_path / "mounted" / api.environment["JAY_CONFIG"]
    process = launch(**{**api.environment, "JAY_CONFIG": str(inside), "JAY_REDIS__URL": ""})
    assert process.request("POST").json["source"] == "tv.app"

    def reload(*raws: str) -> None:
        before = sum("uses the reloaded" in line for line in process.log)
        replace(folder / "config.yaml", f"api_keys: [{', '.join(map(entry, raws))}]\n")
        process.popen.send_signal(signal.SIGHUP)
        eventually(lambda: sum("uses the reloaded" in line for line in process.log) > before, "keys reloaded")

    def statuses() -> tuple[int, int]:
        return process.request("POST").status, process.request("POST", X_API_Key="second").status

    assert statuses() == (201, 401)
    reload(KEY, "second")
    assert statuses() == (201, 201)
    reload("second")
    assert statuses() == (401, 201)


def test_compose_mounts_the_configured_folder(folder: Path) -> None:
    """Compose mounts its own folder, or the folder in JAY_CONFIG_FOLDER."""
    assert compose.up(folder)["api"].values("-v") == [f"{folder}:/config:ro"]
    (folder / "conf").mkdir()
    (folder / ".env").write_text("JAY_CONFIG_FOLDER=./conf\n")
    assert compose.up(folder)["api"].values("-v") == [f"{folder}/conf:/config:ro"]


def test_the_image_contains_a_configuration(project: Path) -> None:
    """The image has config.yaml in its working directory, for runs without a mount."""
    lines = (project / "Dockerfile").read_text("utf-8").splitlines()
    assert "COPY config.yaml /app/config.yaml" in lines
    assert "WORKDIR /app" in lines
