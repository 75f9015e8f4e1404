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
    """A service without sessions."""
    return launch()


def run(environment: dict[str, str], service: Process, *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = {**environment, "JAY_URL": service.url}
    return subprocess.run(command(*arguments), env=given, capture_output=True, text=True, timeout=60, check=False)


def test_a_week_that_agrees_with_itself(environment: dict[str, str], service: Process) -> None:
    """It is written through the real way: counts, sketches, lists and live sessions fit, as the doctor finds too."""
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


def refused(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    """Expect exit status 1 and one line that says why."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def keys_in(folder: Path) -> set[str]:
    """Return all keys of an embedded server, but those of a self-test and of a start."""
    with redis.Redis(unix_socket_path=str(folder / "data" / "valkey.sock"), decode_responses=True) as client:
        return {key for key in client.scan_iter() if not re.search("}(test:|secrets$)", key)}


def test_a_configuration_of_production_is_refused(
    environment: dict[str, str], service: Process, tmp_path: Path
) -> None:
    """Made-up sessions would be in production's counts for ninety days."""
    refused(run({**environment, **PRODUCTION}, service, "demo"), "production")
    assert keys_in(tmp_path) == set()


@pytest.mark.parametrize(("key", "words"), [("own-key", "is in production"), ("", "cannot see whether it is")])
def test_a_service_in_production_is_refused(
    environment: dict[str, str], launch: Launch, tmp_path: Path, key: str, words: str
) -> None:
    """Whatever this machine's configuration says, with a key that may ask and with one that is not accepted."""
    service = launch(**PRODUCTION)
    refused(run({**environment, "JAY_KEY": key}, service, "demo"), words)
    assert keys_in(tmp_path) == set()


def test_a_service_that_does_not_say_is_refused(
    environment: dict[str, str], service: Process, tmp_path: Path
) -> None:
    """Nobody there, a key without the scope, an older service, and another server."""
    nobody = run({**environment, "JAY_URL": "http://127.0.0.1:1"}, service, "demo", "--url", "http://127.0.0.1:1")
    refused(nobody, "Is the service running?")
    refused(run({**environment, "JAY_KEY": KEY}, service, "demo"), "a key with the scope `analytics`")

    class Older(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"server": "Valkey 9.1.2"}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Older) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run(environment, service, "demo", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    refused(done, "does not say whether it is in production")
    assert keys_in(tmp_path) == set()


def test_a_redis_with_sessions_is_refused(environment: dict[str, str], service: Process, tmp_path: Path) -> None:
    """Real sessions, those that have ended and are only counted, and those of the demo itself."""
    session_id = service.create()
    refused(run(environment, service, "demo"), "already has sessions")
    assert service.request("DELETE", token=session_id).status == 204
    before = keys_in(tmp_path)
    assert before
    refused(run(environment, service, "demo"), "already has sessions or counts")
    assert keys_in(tmp_path) == before


def test_a_redis_of_which_counts_were_read_is_empty(environment: dict[str, str], service: Process) -> None:
    """A look at the dashboard, or at a user, leaves nothing that stops the demo."""
    for arguments in (("counts",), ("users", "show", "u"), ("users", "erase", "u", "--yes")):
        assert run(environment, service, *arguments).returncode == 0
    assert run(environment, service, "demo", "--sessions", "1000").returncode == 0


def test_another_redis_than_the_services_is_refused(
    environment: dict[str, str], service: Process, tmp_path: Path
) -> None:
    """The week would be where nobody looks, or in a Redis that another service is about to use."""
    other = run({**environment, "JAY_REDIS__KEY_PREFIX": "other"}, service, "demo")
    refused(other, "uses another Redis")
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as server:
        refused(run({**environment, "JAY_REDIS__URL": server.url}, service, "demo"), "uses another Redis")
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_without_a_service(environment: dict[str, str], service: Process, tmp_path: Path) -> None:
    """Where nobody serves, and where Redis is away, it says what to do."""
    nowhere = run({**environment, "JAY_REDIS__DATA_DIR": str(tmp_path / "none")}, service, "demo")
    assert nowhere.returncode == 1
    assert "Start the service first" in nowhere.stderr
    away = run({**environment, "JAY_REDIS__URL": f"unix://{tmp_path}/none.sock"}, service, "demo")
    assert away.returncode == 1
    assert "Redis does not answer" in away.stderr
    few = run(environment, service, "demo", "--sessions", "5")
    assert few.returncode == 2
    assert "from 1000 to 1000000" in few.stderr
