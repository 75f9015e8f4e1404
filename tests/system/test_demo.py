"""`jay-tracking demo` against a running development service."""

import http.server
import json
import re
import subprocess
import threading
from pathlib import Path

import pytest
import redis

from service.api_keys import hash_key
from tests.support.processes import KEY, Launch, Process, command
from tests.support.servers import RedisServer, binaries


@pytest.fixture
def service(launch: Launch) -> Process:
    """Run a service without sessions."""
    return launch()


def run(environment: dict[str, str], service: Process, *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = {**environment, "JAY_URL": service.url}
    return subprocess.run(command(*arguments), env=given, capture_output=True, text=True, timeout=60, check=False)


def test_the_demo_creates_a_consistent_week(environment: dict[str, str], service: Process) -> None:
    """The demo creates a week of sessions whose counts and sessions agree."""
    done = run(environment, service, "demo", "--sessions", "2000")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert f"{service.url}/dashboard" in done.stdout
    counts = json.loads(run(environment, service, "counts", "--json", "--from", "7d").stdout)
    totals = counts["totals"]
    assert f"Created {totals['created']:,} sessions" in done.stdout
    assert f"ended {totals['ended']:,} of them" in done.stdout
    assert 1900 < totals["created"] < 2100
    assert 0 < totals["active"] < totals["created"] / 4
    assert 100 < totals["unique_users"] < 200
    assert len(counts["sources"]) == 5
    assert sum(point["created"] > 0 for point in counts["series"]) >= 7
    assert run(environment, service, "doctor").returncode == 0


def keys(*scopes: str) -> str:
    return json.dumps([{"name": "own", "sha256": hash_key("own-key"), "scopes": scopes}])


PRODUCTION = {
    "JAY_ENVIRONMENT": "production",
    "JAY_SESSION__USER_SECRET": "a secret of our own",
    "JAY_API_KEYS": keys("track", "analytics"),
}


def expect_refusal(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    """Expect exit status 1 and one line with a reason."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def keys_in(folder: Path) -> set[str]:
    """Return all keys of an embedded server except those of its start and self-test."""
    with redis.Redis(unix_socket_path=str(folder / "data" / "valkey.sock"), decode_responses=True) as client:
        return {key for key in client.scan_iter() if not re.search("}(test:|secrets$)", key)}


def test_a_configuration_of_production_is_refused(
    environment: dict[str, str], service: Process, tmp_path: Path
) -> None:
    """The demo refuses a production configuration and writes no keys."""
    expect_refusal(run({**environment, **PRODUCTION}, service, "demo"), "production")
    assert keys_in(tmp_path) == set()


@pytest.mark.parametrize(("key", "words"), [("own-key", "is in production"), ("", "cannot see whether it is")])
def test_a_service_in_production_is_refused(
    environment: dict[str, str], launch: Launch, tmp_path: Path, key: str, words: str
) -> None:
    """The demo refuses a service in production, with any key."""
    service = launch(**PRODUCTION)
    expect_refusal(run({**environment, "JAY_KEY": key}, service, "demo"), words)
    assert keys_in(tmp_path) == set()


def test_a_service_of_unknown_environment_is_refused(
    environment: dict[str, str], service: Process, tmp_path: Path
) -> None:
    """The demo refuses a service whose environment it cannot read."""
    nobody = run({**environment, "JAY_URL": "http://127.0.0.1:1"}, service, "demo", "--url", "http://127.0.0.1:1")
    expect_refusal(nobody, "Is the service running?")
    expect_refusal(run({**environment, "JAY_KEY": KEY}, service, "demo"), "a key with the scope `analytics`")

    class Older(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"server": "Valkey 9.1.2"}')

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Older) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run(environment, service, "demo", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    expect_refusal(done, "does not say whether it is in production")
    assert keys_in(tmp_path) == set()


def test_a_redis_with_sessions_is_refused(environment: dict[str, str], service: Process, tmp_path: Path) -> None:
    """The demo refuses a Redis that already has sessions or counts."""
    session_id = service.create()
    expect_refusal(run(environment, service, "demo"), "already has sessions")
    assert service.request("DELETE", token=session_id).status == 204
    before = keys_in(tmp_path)
    assert before
    expect_refusal(run(environment, service, "demo"), "already has sessions or counts")
    assert keys_in(tmp_path) == before


def test_the_refusal_names_an_empty_data_directory(
    environment: dict[str, str], launch: Launch, service: Process, tmp_path: Path
) -> None:
    """With the embedded server, the refusal names a directory with which it works."""
    service.create()
    done = run(environment, service, "demo")
    found = re.search(r"JAY_REDIS__DATA_DIR=(.+?), and run", done.stderr)
    assert found is not None, done
    assert Path(found[1]) == tmp_path / "data" / "demo"
    other = launch(JAY_REDIS__DATA_DIR=found[1])
    again = run({**environment, "JAY_REDIS__DATA_DIR": found[1]}, other, "demo", "--sessions", "1000")
    assert again.returncode == 0, again


def test_reading_counts_does_not_stop_the_demo(environment: dict[str, str], service: Process) -> None:
    """Reading counts leaves no keys that would stop the demo."""
    for arguments in (("counts",), ("users", "show", "u"), ("users", "erase", "u", "--yes")):
        assert run(environment, service, *arguments).returncode == 0
    assert run(environment, service, "demo", "--sessions", "1000").returncode == 0


def test_another_redis_than_the_services_is_refused(
    environment: dict[str, str], service: Process, tmp_path: Path
) -> None:
    """The demo refuses a configuration with another Redis than the service's."""
    other = run({**environment, "JAY_REDIS__KEY_PREFIX": "other"}, service, "demo")
    expect_refusal(other, "uses another Redis")
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as server:
        expect_refusal(run({**environment, "JAY_REDIS__URL": server.url}, service, "demo"), "uses another Redis")
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_a_service_that_is_not_ready_is_refused(environment: dict[str, str], launch: Launch, tmp_path: Path) -> None:
    """A Redis that rejects writes is not taken for another Redis."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as server:
        service = launch(JAY_REDIS__URL=server.url)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("min-replicas-to-write", 1)
        expect_refusal(run({**environment, "JAY_REDIS__URL": server.url}, service, "demo"), "is not ready")


def test_a_redis_that_cannot_be_searched_is_refused(
    environment: dict[str, str], launch: Launch, tmp_path: Path
) -> None:
    """Without SCAN nobody knows whether Redis is empty. The refusal names the right."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as server:
        with redis.Redis.from_url(server.url) as client:
            client.acl_setuser("jay", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-scan"])
        variables = {"JAY_REDIS__URL": server.url.replace("redis://", "redis://jay:p@")}
        expect_refusal(run({**environment, **variables}, launch(**variables), "demo"), "Allow the Redis user +scan")


def test_without_a_service(environment: dict[str, str], service: Process, tmp_path: Path) -> None:
    """Without a service or a Redis the demo exits with advice."""
    nowhere = run({**environment, "JAY_REDIS__DATA_DIR": str(tmp_path / "none")}, service, "demo")
    assert nowhere.returncode == 1
    assert "Start the service first" in nowhere.stderr
    away = run({**environment, "JAY_REDIS__URL": f"unix://{tmp_path}/none.sock"}, service, "demo")
    assert away.returncode == 1
    assert "Redis cannot be used" in away.stderr
    few = run(environment, service, "demo", "--sessions", "5")
    assert few.returncode == 2
    assert "from 1000 to 1000000" in few.stderr
