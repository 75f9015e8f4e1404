"""`doctor` against healthy deployments, and one for each problem that it finds."""

import http.server
import json
import posixpath
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
import redis

from service.api.wire import SESSION_PATHS
from service.api_keys import hash_key
from service.config.settings import DEVELOPMENT_USER_SECRET
from service.digests import UserDigest
from service.sessions import SessionFactory
from service.storage.keyspace import SHARD_TAGS, Keyspace
from service.storage.session_value import encode
from tests.support.http_servers import serving
from tests.support.processes import KEY, TOKEN, Answer, Launch, Process, command, until_gone
from tests.support.servers import RedisServer, binaries
from tests.system.test_nginx import nginx, proxy
from tests.system.test_operator_commands import create

Doctor = Callable[..., tuple[int, str]]
ORIGIN = "https://app.example.com"
# On a busy machine a command takes longer than the 10 ms of the default.
NO_SLOW_LOG = ("--slowlog-log-slower-than", "-1")

__all__ = ["nginx", "proxy"]  # fixtures


@pytest.fixture
def doctor(environment: dict[str, str], tmp_path: Path) -> Doctor:
    """Return a function that runs the doctor and returns exit status and output."""

    def run(*arguments: str, **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            command("doctor", *arguments),
            env={**environment, "COLUMNS": "200", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    return run


def problems(output: str) -> list[str]:
    return re.findall(r"✗ (.*)", output)


def client_of(process: Process, tmp_path: Path) -> "redis.Redis":
    assert process.valkey_pid
    return redis.Redis(unix_socket_path=str(tmp_path / "data" / "valkey.sock"), decode_responses=True)


def test_a_healthy_deployment_has_no_problem(launch: Launch, doctor: Doctor) -> None:
    """A healthy deployment passes every check, with exit status 0."""
    process = launch(JAY_CORS__ORIGINS=f'["{ORIGIN}"]')
    for number in range(20):
        create(process, f"user-{number % 3}" if number % 2 else None)
    status, output = doctor("--url", process.url, "--origin", ORIGIN)
    assert (status, problems(output)) == (0, []), output
    for word in ("the cookie reaches", "header __Secure-jay_tracking reaches", "X-Jay-Tracking reaches", "preflight"):
        assert word in output
    for word in (
        "API version",
        "append-only file",
        "Redis evicts no keys",
        "MiB in use",
        "20 sessions, 10 with",
        "sessions can be created, read and ended",
    ):
        assert word in output
    assert "counts equal the number of sessions" in output
    assert "\nRedis\n" in output
    assert "no forecast: the memory in use is not growing" in output
    assert output.endswith("No problems found. 1 check had no result, see the line with ?\n")


def test_a_proxy_that_drops_underscores_is_found(proxy: Callable[..., Process], doctor: Doctor) -> None:
    """A proxy that drops the session header is found, with the line that fixes it."""
    status, output = doctor("--url", proxy(without="underscores_in_headers").url, "--no-redis")
    assert status == 1
    assert problems(output) == ["the header __Secure-jay_tracking does not reach the service (404)"]
    assert "underscores_in_headers on;" in output
    assert doctor("--url", proxy().url, "--no-redis")[0] == 0


def test_an_origin_that_no_browser_sends_is_an_error(environment: dict[str, str]) -> None:
    """An origin in the wrong spelling is an error that gives the right one."""
    arguments = command("doctor", "--origin", "https://WWW.example.com:443/")
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "must be spelled as browsers send it: https://www.example.com\n" in done.stderr


def test_an_origin_that_is_not_configured_is_found(launch: Launch, doctor: Doctor) -> None:
    """An origin that is not configured is found."""
    status, output = doctor("--url", launch().url, "--origin", "https://other.example", "--no-redis")
    assert status == 1
    assert any("may not call" in problem for problem in problems(output))
    assert "cors.origins" in output


def test_inconsistent_indexes_are_found_and_repaired(launch: Launch, doctor: Doctor, tmp_path: Path) -> None:
    """Deleted keys are found, and --repair fixes the users' indexes."""
    process = launch()
    for _ in range(5):
        create(process, "u")
    with client_of(process, tmp_path) as client:
        (index,) = client.scan_iter("*user:*")
        first, second, *_ = sorted(client.hkeys(index))
        base = index.partition("user:")[0]
        client.delete(base + first)  # simulates its expiry
        client.hdel(index, second)
        client.set(f"jay{{{SHARD_TAGS[0]}}}stranger", "x")
        status, output = doctor("--url", process.url)
        assert status == 1
        assert any("the indexes of users lack 1 session" in problem for problem in problems(output))
        assert "the indexes have 1 expired session until" in output
        assert any("without a lifetime" in problem for problem in problems(output))
        client.delete(f"jay{{{SHARD_TAGS[0]}}}stranger")
        status, output = doctor("--url", process.url, "--repair")
        assert "added 1 session to the indexes of users" in output
        assert "removed 1 expired session from indexes" in output
        assert set(client.hkeys(index)) == {key.removeprefix(base) for key in client.scan_iter(f"{base}*-*-*-*-*")}
        assert 86000 < client.ttl(index) <= 86400


def test_a_repair_reports_what_it_cannot_repair(launch: Launch, doctor: Doctor, tmp_path: Path) -> None:
    """A repair reports the sessions that it cannot put into an index."""
    process = launch()
    for user in ("u", "v", "w"):
        create(process, user)
    digest = UserDigest(DEVELOPMENT_USER_SECRET)
    keyspace = Keyspace("jay")
    with client_of(process, tmp_path) as client:
        client.delete(keyspace.user(digest("v")), keyspace.user(digest("w")))
        client.rpush(keyspace.user(digest("w")), "a list")
        client.expire(keyspace.user(digest("w")), 600)
        one, other = (SessionFactory(UserDigest(secret)).new("s", "u") for secret in ("another-secret", "-" * 8))
        shard = (int(digest("u")[0], 16) + 1) % 16
        other = other._replace(id=f"{shard:x}{other.id[1:]}")
        for session in (one, other._replace(user_digest=digest("u"))):
            client.set(keyspace.session(session.id), encode(session), ex=600)
        status, output = doctor("--url", process.url, "--repair")
        assert status == 1
        assert "✓ added 1 session to the indexes of users" in output
        found = " ".join(problems(output))
        for problem in (
            "the indexes of users lack 1 session",
            "found 1 session created under another session.user_secret",
            "found 1 session in another shard",
        ):
            assert problem in found
        assert "session.previous_user_secrets" in output
        assert client.hlen(keyspace.user(digest("v"))) == 1
        assert client.ttl(keyspace.user(digest("v"))) > 0
        client.delete(keyspace.user(digest("w")), keyspace.session(other.id))
        secrets = '["another-secret"]'
        status, output = doctor("--url", process.url, "--repair", JAY_SESSION__PREVIOUS_USER_SECRETS=secrets)
        assert "added 2 sessions to the indexes of users" in output
        status, output = doctor("--url", process.url, JAY_SESSION__PREVIOUS_USER_SECRETS=secrets)
        assert "every session of a user is in the index of the user" in output
        assert not [found for found in problems(output) if "session" in found and "counts" not in found]


def test_another_secret_is_found(launch: Launch, doctor: Doctor) -> None:
    """A secret that differs from the stored one is found before the service uses it."""
    process = launch()
    create(process, "u")
    status, output = doctor("--url", process.url, JAY_SESSION__USER_SECRET="another-secret")
    assert status == 1
    assert "requests for users are answered with 503" in problems(output)
    assert "found 1 session created under another session.user_secret" in problems(output)
    assert "development-only" not in output
    listed = {
        "JAY_SESSION__USER_SECRET": "another-secret",
        "JAY_SESSION__PREVIOUS_USER_SECRETS": '["development-only"]',
    }
    assert doctor("--url", process.url, **listed)[0] == 0


@pytest.mark.parametrize("kind", binaries())
def test_command_logs_are_found(launch: Launch, doctor: Doctor, tmp_path: Path, kind: str) -> None:
    """A command log with entries is a problem, with the setting that disables it."""
    folder = tmp_path / "redis"
    folder.mkdir()
    options = ("--appendonly", "yes", "--slowlog-log-slower-than", "0", "--maxmemory", "1gb")
    with RedisServer(binaries()[kind], folder, *options) as server:
        process = launch(JAY_REDIS__URL=server.url)
        create(process, "u")
        status, output = doctor("--url", process.url, JAY_REDIS__URL=server.url)
        assert status == 1
        assert any("log of Redis has" in problem for problem in problems(output))
        with redis.Redis.from_url(server.url) as client:
            client.config_set("slowlog-log-slower-than", "-1")
            client.slowlog_reset()
            if kind == "valkey":
                client.config_set("commandlog-request-larger-than", "10")
                create(process, "u")
                client.config_set("commandlog-request-larger-than", "-1")
                status, output = doctor("--url", process.url, JAY_REDIS__URL=server.url)
                assert "COMMANDLOG RESET large-request" in output
                client.execute_command("COMMANDLOG", "RESET", "large-request")
            client.acl_setuser("jay", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-@admin"])
        status, output = doctor("--url", process.url, JAY_REDIS__URL=server.url)
        assert "the command logs of Redis are empty" in output
        url = server.url.replace("redis://", "redis://jay:p@")
        status, output = doctor("--url", process.url, JAY_REDIS__URL=url)
        assert "? the Redis user may not see the command logs" in output
        assert "+slowlog|len" in output


def test_a_redis_that_can_lose_sessions_is_found(launch: Launch, doctor: Doctor, tmp_path: Path) -> None:
    """No append-only file, eviction, and memory that is almost full are problems."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as server:
        process = launch(JAY_REDIS__URL=server.url)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "no")
            client.config_set("maxmemory-policy", "allkeys-lru")
            used = client.info("memory")["used_memory"]
            client.config_set("maxmemory", int(used * 1.1))
        status, output = doctor("--url", process.url, JAY_REDIS__URL=server.url)
    assert status == 1
    found = " ".join(problems(output))
    for word in ("no append-only file", "allkeys-lru may evict", "memory is nearly full"):
        assert word in found


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [("min-replicas-to-write", "1", "NOREPLICAS"), ("maxmemory", "1", "OutOfMemoryError")],
)
def test_a_redis_that_rejects_writes_is_found(
    launch: Launch, doctor: Doctor, tmp_path: Path, setting: str, value: str, reason: str
) -> None:
    """The doctor writes itself, so it has the reason of Redis."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder) as server:
        process = launch(JAY_REDIS__URL=server.url)
        with redis.Redis.from_url(server.url) as client:
            client.config_set(setting, value)
        status, output = doctor("--url", process.url, JAY_REDIS__URL=server.url)
    assert status == 1
    (found,) = [one for one in problems(output) if one.startswith("sessions cannot be created")]
    assert reason in found


def test_a_redis_without_a_memory_limit_is_found(launch: Launch, doctor: Doctor, tmp_path: Path) -> None:
    """A Redis without a memory limit is a problem, with advice."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder, "--appendonly", "yes", *NO_SLOW_LOG) as server:
        process = launch(JAY_REDIS__URL=server.url)
        status, output = doctor("--url", process.url, JAY_REDIS__URL=server.url)
    assert status == 1
    (found,) = problems(output)
    assert found.startswith("no memory limit is set")
    assert "set maxmemory to half" in output


def test_a_forbidden_check_is_unknown(launch: Launch, doctor: Doctor, tmp_path: Path) -> None:
    """A check that the ACL forbids is reported as unknown and is no problem."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(binaries()["valkey"], folder, *NO_SLOW_LOG) as server:
        with redis.Redis.from_url(server.url) as client:
            rules = ["+@all", "-info", "-scan", "-dbsize", "-config"]
            client.acl_setuser("jay", enabled=True, passwords=["+p"], keys=["*"], commands=rules)
        url = server.url.replace("redis://", "redis://jay:p@")
        process = launch(JAY_REDIS__URL=url)
        status, output = doctor("--url", process.url, JAY_REDIS__URL=url)
    assert (status, problems(output)) == (0, []), output
    assert len(re.findall(r"\? the Redis user may not", output)) == 2
    assert output.endswith("No problems found. 2 checks had no result, see the lines with ?\n")


def test_a_missing_service_and_redis_are_problems(launch: Launch, doctor: Doctor) -> None:
    """A missing service and a missing Redis are each reported as a problem."""
    process = launch()
    valkey = process.valkey_pid
    process.stop()
    until_gone([valkey])
    status, output = doctor("--url", process.url)
    assert status == 1
    assert len(problems(output)) == 1
    assert "? the embedded server does not run here" in output
    status, output = doctor("--url", process.url, JAY_REDIS__URL="redis://127.0.0.1:1")
    assert status == 1
    assert len(problems(output)) == 2
    assert "Redis cannot be used" in output


def test_checks_that_the_key_does_not_allow_are_skipped(launch: Launch, doctor: Doctor) -> None:
    """Checks that need a scope the key lacks are skipped, with exit status 0."""
    process = launch(JAY_CORS__ORIGINS=f'["{ORIGIN}"]')
    status, output = doctor("--url", process.url, "--origin", ORIGIN, "--key", "demo-operator-key")
    assert (status, problems(output)) == (0, []), output
    assert "? not checked: creating, reading and ending a session" in output
    assert "a key that has the scope `track`" in output
    for word in (
        "API version",
        "counts can be read",
        "paths reach the service",
        "preflight passes",
        "pages can read",
    ):
        assert word in output
    assert "clocks of the service and Redis agree" in output
    status, output = doctor("--url", process.url, "--key", KEY)
    assert (status, problems(output)) == (0, []), output
    assert "? not checked: reading counts (this key lacks the scope `analytics`)" in output
    assert "the session can be ended" in output


def test_a_second_key_reads_the_counts(launch: Launch, doctor: Doctor) -> None:
    """The key for counts checks them, and an unknown one is a problem of its own."""
    process = launch()
    status, output = doctor("--url", process.url, "--key", KEY, "--operator-key", "demo-operator-key", "--no-redis")
    assert (status, output.count("not checked")) == (0, 0), output
    assert "the session can be ended" in output
    assert "counts can be read" in output
    status, output = doctor("--url", process.url, "--key", KEY, "--no-redis", JAY_OPERATOR_KEY="wrong-key")
    assert status == 1
    [found] = problems(output)
    assert found.startswith("counts cannot be read: 401")
    assert "JAY_OPERATOR_KEY" in output


def test_the_origin_check_is_skipped_for_a_key_of_another_origin(launch: Launch, doctor: Doctor) -> None:
    """The origin check is skipped for a key that is not valid for the origin."""
    entry = {
        "name": "page",
        "sha256": hash_key("page-key"),
        "scopes": ["track"],
        "origins": ["https://other.example"],
    }
    process = launch(JAY_CORS__ORIGINS=f'["{ORIGIN}", "https://other.example"]', JAY_API_KEYS=json.dumps([entry]))
    status, output = doctor("--url", process.url, "--origin", ORIGIN, "--key", "page-key", "--no-redis")
    assert (status, problems(output)) == (0, []), output
    assert f"? not checked: whether pages of {ORIGIN} may use their key" in output
    status, output = doctor(
        "--url", process.url, "--origin", "https://other.example", "--key", "page-key", "--no-redis"
    )
    assert (status, output.count("may use their key")) == (0, 0), output


def test_a_missing_key_is_no_problem_and_an_unknown_one_is(launch: Launch, doctor: Doctor) -> None:
    """A missing key skips the session checks, and an unknown key is a problem."""
    entry = {"name": "own", "sha256": hash_key("own-key"), "scopes": ["track"]}
    keys = {"JAY_API_KEYS": json.dumps([entry])}
    process = launch(**keys)
    status, output = doctor("--url", process.url, "--no-redis", **keys)
    assert status == 0, output
    assert "no key was given" in output
    status, output = doctor("--url", process.url, "--no-redis", "--key", "wrong-key")
    assert status == 1
    assert len(problems(output)) == 1


@contextmanager
def in_front(
    service: Process, path_of: Callable[[str], str | None] = str, change: Callable[[bytes], bytes] = bytes
) -> Iterator[str]:
    """Run a proxy that changes paths and bodies. Yield its URL.

    It answers a path of None itself, with a page.
    """

    class Front(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            path = path_of(self.path)
            if path is None:
                answer = Answer(404, {"Content-Type": "text/html"}, b"<html>404</html>")
            else:
                names = ("X-API-Key", "Cookie", "X-Jay-Tracking")
                sent = {name.replace("-", "_"): self.headers.get(name) for name in names}
                answer = service.request(self.command, path, **sent, token=self.headers.get(TOKEN))
            body = change(answer.body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in {"content-length", "connection", "transfer-encoding", "date"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with serving(Front) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_proxy_that_changes_paths_is_found(launch: Launch, doctor: Doctor) -> None:
    """A proxy that decodes a user id is a problem, with or without its dots."""
    service = launch()

    def normalize(path: str) -> str:
        return posixpath.normpath(unquote(path))

    for change in (unquote, normalize):
        with in_front(service, change) as url:
            status, output = doctor("--url", url, "--no-redis")
        assert (status, problems(output)) == (1, ["a proxy decodes or normalizes paths"]), output


def test_the_page_of_a_proxy_says_nothing_about_paths(launch: Launch, doctor: Doctor) -> None:
    """Behind a proxy that passes only sessions, the check of paths is skipped."""
    service = launch()
    with in_front(service, lambda path: path if path in SESSION_PATHS else None) as url:
        status, output = doctor("--url", url, "--no-redis")
    assert (status, problems(output)) == (0, []), output
    assert "? not checked: whether paths reach the service unchanged (the answer is 404)" in output


@pytest.fixture
def service_with_another_clock(launch: Launch) -> Iterator[tuple[str, float]]:
    """Run a service whose clock is 300 s slow. Return its URL and the seconds."""
    seconds = 300.0

    def slow(found: "re.Match[bytes]") -> bytes:
        moment = datetime.fromisoformat(found[0].decode()) - timedelta(seconds=seconds)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").encode()

    with in_front(launch(), change=lambda body: re.sub(rb"\d{4}-\d\d-\d\dT[\d:]+\.\d{6}", slow, body)) as url:
        yield url, seconds


def test_a_service_whose_clock_is_slow_is_found(
    service_with_another_clock: tuple[str, float], doctor: Doctor
) -> None:
    """A slow clock of the service is found, and this machine's clock is not blamed."""
    url, seconds = service_with_another_clock
    status, output = doctor("--url", url)
    assert status == 1
    (problem,) = [one for one in problems(output) if "clock" in one]
    behind = re.search(r"the service's clock is ([\d.]+) s behind Redis's", problem)
    assert behind
    assert seconds - 15 < float(behind[1]) < seconds + 1
    assert "sessions count in the wrong hour" in output
    assert "this machine's clock" not in output.partition("Clocks")[2].partition("Redis\n")[0].replace(
        "use this machine's clock", ""
    )


def test_a_redis_without_info_can_be_examined(launch: Launch, doctor: Doctor, tmp_path: Path) -> None:
    """A Redis without INFO and DBSIZE, as some hosted ones are, is examined."""
    folder = tmp_path / "redis"
    folder.mkdir()
    hidden = [word for name in ("INFO", "DBSIZE") for word in ("--rename-command", name, "")]
    with RedisServer(binaries()["valkey"], folder, *hidden, *NO_SLOW_LOG) as server:
        process = launch(JAY_REDIS__URL=server.url)
        create(process, "u")
        status, output = doctor("--url", process.url, JAY_REDIS__URL=server.url)
        state = process.request("GET", "/v1/playouts/tracking/analytics/store", **{"X-API-Key": "demo-operator-key"})
    assert (status, problems(output)) == (0, []), output
    assert "? the Redis user may not see persistence, eviction and memory" in output
    assert "1 session, 1 with a user id" in output
    assert (state.status, state.json["server"]) == (200, None)
