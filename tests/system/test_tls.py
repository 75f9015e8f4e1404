"""The service with a TLS certificate: renewals, invalid pairs and the doctor."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.api_keys import hash_key
from tests.support.certificates import Authority, end_of
from tests.support.processes import KEY, Launch, Process, command, eventually, kill

WORKERS = 3
GET = "GET /livez HTTP/1.1\r\nHost: x\r\n"  # a loaded machine may delay Redis


def address(process: Process) -> tuple[str, int]:
    parts = urlsplit(process.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def presented(process: Process, authority: Authority) -> bytes:
    """Return the certificate of a new handshake."""
    with (
        socket.create_connection(address(process), 10) as connection,
        authority.trusting().wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def lines(process: Process, *words: str) -> list[str]:
    return [line for line in process.log if all(word in line for word in words)]


def hang_up(process: Process, expected: str, number: int) -> None:
    """Send SIGHUP and wait until `number` more log lines contain `expected`."""
    before = len(lines(process, expected))
    process.popen.send_signal(signal.SIGHUP)
    eventually(lambda: len(lines(process, expected)) == before + number, f"{number} more of: {expected}")


def test_tls(launch: Launch, authority: Authority, environment: dict[str, str]) -> None:
    """With a certificate the service and its health check use HTTPS."""
    process = launch(authority.trusting(), **authority.variables)
    assert process.url.startswith("https://127.0.0.1:")
    assert process.status_of(process.create()) == 200
    check = command("healthcheck", "--url", process.url)
    assert subprocess.run(check, env=environment, check=False, capture_output=True).returncode == 0
    assert lines(process, "is valid until", str(authority.certificate))


@asynccontextmanager
async def load_of(process: Process, context: ssl.SSLContext) -> AsyncIterator[dict[str, int]]:
    """Send requests on kept and on new connections. Yield how many of each."""
    host, port = address(process)
    counts = {"kept": 0, "new": 0}
    stop = asyncio.Event()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: str = "") -> None:
        writer.write((GET + more + "\r\n").encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))

    async def keep() -> None:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        while not stop.is_set():
            await ask(reader, writer)
            counts["kept"] += 1
        writer.close()

    async def renew() -> None:
        while not stop.is_set():
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            await ask(reader, writer, "Connection: close\r\n")
            counts["new"] += 1
            writer.close()

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(keep())
            group.create_task(renew())
        yield counts
        stop.set()


async def test_a_certificate_is_renewed_under_load(launch: Launch, authority: Authority) -> None:
    """Five renewals under load fail no request and reach every worker."""
    process = await asyncio.to_thread(
        launch,
        authority.trusting(),
        **authority.variables,
        JAY_SERVER__WORKERS=str(WORKERS),
    )
    workers = await asyncio.to_thread(
        eventually, lambda: len(process.worker_pids) == WORKERS and process.worker_pids, ""
    )
    async with load_of(process, authority.trusting()) as counts:

        def has_gone_on(before: dict[str, int]) -> bool:
            return all(counts[kind] > before[kind] + 20 for kind in counts)

        for _ in range(5):
            fresh = authority.issue()
            before = dict(counts)
            await asyncio.to_thread(hang_up, process, "presents the reloaded certificate", WORKERS)
            for _ in range(20):  # several per worker
                assert await asyncio.to_thread(presented, process, authority) == fresh
            await asyncio.to_thread(eventually, partial(has_gone_on, before), "requests go on")
    assert process.worker_pids == workers
    assert len(lines(process, "is valid until")) == 6  # with that of the start
    assert not lines(process, '"error"')
    assert not lines(process, '"warning"')


def spoiled_certificate(authority: Authority) -> Path:
    authority.certificate.write_bytes(authority.certificate.read_bytes()[:-60])
    return authority.certificate


def missing_key(authority: Authority) -> Path:
    authority.key.unlink()
    return authority.key


def other_key(authority: Authority) -> Path:
    other = Authority(authority.key.parent / "other")
    other.issue()
    other.key.replace(authority.key)
    return authority.key


@pytest.mark.parametrize("spoil", [spoiled_certificate, missing_key, other_key])
def test_a_broken_pair_keeps_the_old_one_and_reloads_the_keys(
    launch: Launch, authority: Authority, tmp_path: Path, spoil: Callable[[Authority], Path]
) -> None:
    """An invalid pair is logged once, the old one stays, and API keys are reloaded."""
    config = tmp_path / "own.yaml"
    entry = "api_keys: [{{name: own, sha256: {}, scopes: [track]}}]"
    config.write_text(entry.format(hash_key(KEY)))
    process = launch(authority.trusting(), **authority.variables, JAY_CONFIG=str(config), JAY_SERVER__WORKERS="2")
    old = presented(process, authority)
    file = spoil(authority)
    config.write_text(entry.format(hash_key("second")))
    hang_up(process, "uses the reloaded API keys", 2)
    eventually(lambda: lines(process, '"error"'), "a line about the certificate")
    (line,) = lines(process, '"error"')
    assert f"the certificate stays as it is: server.tls.{file.stem.replace('cert', 'certificate')}: {file} " in line
    assert process.request("POST", X_API_Key="second").status == 201
    assert process.request("POST").status == 401
    first, _ = workers = process.worker_pids
    kill(first)
    eventually(lambda: len(process.worker_pids - {first}) == 2, "a new worker")
    eventually(process.is_ready, "ready")
    assert process.worker_pids != workers
    for _ in range(10):
        assert presented(process, authority) == old
    assert lines(process, "stays as it is") == [line]  # the workers did not try
    fresh = authority.issue()
    hang_up(process, "presents the reloaded certificate", 2)
    for _ in range(10):
        assert presented(process, authority) == fresh


def test_a_broken_configuration_does_not_stop_a_certificate(
    launch: Launch, authority: Authority, tmp_path: Path
) -> None:
    """An invalid configuration keeps the API keys and still renews the certificate."""
    config = tmp_path / "own.yaml"
    config.write_text(f"api_keys: [{{name: own, sha256: {hash_key(KEY)}, scopes: [track]}}]")
    process = launch(authority.trusting(), **authority.variables, JAY_CONFIG=str(config), JAY_SERVER__WORKERS="2")
    config.write_text("api_keys: [")
    fresh = authority.issue()
    hang_up(process, "presents the reloaded certificate", 2)
    (line,) = lines(process, '"error"')
    assert "the API keys stay as they are" in line
    for _ in range(10):
        assert presented(process, authority) == fresh
    assert process.create()


def run(environment: dict[str, str], *arguments: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command(*arguments),
        env={**environment, "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["check-config", "serve"])
@pytest.mark.parametrize("spoil", [spoiled_certificate, missing_key, other_key])
def test_a_pair_that_cannot_be_used_ends_the_start(
    environment: dict[str, str], authority: Authority, name: str, spoil: Callable[[Authority], Path]
) -> None:
    """An invalid pair ends the start with one sentence and exit status 2."""
    file = spoil(authority)
    status, output, said = run(environment, name, **authority.variables)
    assert (status, output, said.count("\n")) == (2, "", 1)
    assert said.startswith("configuration: server.tls.")
    assert f"{file} cannot be used (" in said


def test_commands_that_need_no_certificate_do_not_read_it(
    environment: dict[str, str], authority: Authority, launch: Launch
) -> None:
    """`healthcheck` works while the certificate files are missing."""
    process = launch(authority.trusting(), **authority.variables)
    missing_key(authority)
    variables = {**authority.variables, "JAY_SERVER__PORT": str(address(process)[1])}
    assert run(environment, "healthcheck", **variables)[0] == 0


def test_check_config_warns_of_an_expired_certificate(environment: dict[str, str], authority: Authority) -> None:
    """`check-config` warns of an expired certificate and exits with 0."""
    authority.issue(age_days=9, days=-2)
    status, output, said = run(environment, "check-config", **authority.variables)
    assert status == 0
    assert "server.tls.certificate" in output
    assert said.startswith(f"warning: server.tls.certificate: {authority.certificate} expired on ")


@pytest.mark.parametrize(
    ("days", "status", "sign", "said"),
    [
        (60.5, 0, "✓", "the certificate is valid until {end}, for 60 days"),
        (13, 0, "!", "the certificate ends on {end}, in less than 14 days"),
        (-1, 1, "✗", "the certificate expired on {end}: clients reject it"),
    ],
)
def test_the_doctor_looks_at_the_certificate(
    launch: Launch, environment: dict[str, str], authority: Authority, days: float, status: int, sign: str, said: str
) -> None:
    """The doctor warns 14 days before a certificate ends and fails after it."""
    process = launch(authority.trusting(), **authority.variables)
    certificate = authority.issue(days=days, age_days=9)
    hang_up(process, "presents the reloaded certificate", 1)
    variables = {"SSL_CERT_FILE": str(authority.file)}
    found, output, _ = run(environment, "doctor", "--no-redis", "--url", process.url, **variables)
    assert found == status, output
    assert f"  {sign} {said.format(end=f'{end_of(certificate):%Y-%m-%d}')}" in output
    assert ("cannot be trusted (certificate has expired)" in output) is (days < 0)


def test_the_doctor_says_when_a_certificate_cannot_be_read(environment: dict[str, str]) -> None:
    """The doctor reports a certificate that it cannot read as unknown."""
    status, output, _ = run(environment, "doctor", "--no-redis", "--url", "https://127.0.0.1:9")
    assert status == 1
    assert "? the certificate cannot be read (ConnectionRefusedError)" in output


def test_a_plain_client_on_the_tls_port_is_closed_without_a_log_line(launch: Launch, authority: Authority) -> None:
    """A plain HTTP client on the TLS port is disconnected without an error line."""
    process = launch(authority.trusting(), **authority.variables)
    with socket.create_connection(address(process), 10) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        while connection.recv(1024):
            pass
    os.kill(process.popen.pid, 0)
    assert process.stop() == 0
    assert not lines(process, '"error"')
