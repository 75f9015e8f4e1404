"""A certificate and its key: read as a pair, with errors that name the file."""

import os
import re
import shutil
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from service.config.certificate import Validity, load_pair
from service.config.loading import load
from service.config.settings import TlsSettings
from service.errors import ConfigError, TlsError
from service.server.tls import ServerTls
from tests.support.certificates import Authority, end_of

CERTIFICATE, KEY = "server.tls.certificate", "server.tls.key"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority that has issued a pair."""
    authority = Authority(tmp_path)
    authority.issue()
    return authority


def presented(context: ssl.SSLContext, name: str | None = None) -> bytes:
    """Return the certificate that a context presents in an in-memory handshake."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        context.wrap_bio(to_server, to_client, server_side=True),
    )
    done = [False, False]
    for _ in range(5):
        for number, side in enumerate(sides):
            try:
                side.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass
    assert done == [True, True]
    return sides[0].getpeercert(binary_form=True) or b""


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-60])


def garble(file: Path) -> None:
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line[::-1] if number == 2 else line for number, line in enumerate(lines)))


def lock(file: Path) -> None:
    """Encrypt a key with a passphrase."""
    key = load_pem_private_key(file.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary"))
    file.write_bytes(locked)


def unlink_and_mkdir(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by(file: Path, target: str) -> None:
    file.unlink()
    file.symlink_to(target)


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


BROKEN: dict[str, tuple[Callable[[Authority], object], str, str]] = {
    "no certificate": (lambda a: a.certificate.unlink(), CERTIFICATE, "No such file"),
    "no key": (lambda a: a.key.unlink(), KEY, "No such file"),
    "certificate is a folder": (lambda a: unlink_and_mkdir(a.certificate), CERTIFICATE, "Is a directory"),
    "key is a folder": (lambda a: unlink_and_mkdir(a.key), KEY, "Is a directory"),
    "certificate is a device": (lambda a: replace_by(a.certificate, "/dev/zero"), CERTIFICATE, "not a regular file"),
    "key is a pipe": (lambda a: replace_by_pipe(a.key), KEY, "not a regular file"),
    "key is endless": (lambda a: os.truncate(a.key, 1 << 40), KEY, "larger than 1 MiB"),
    "empty certificate": (lambda a: a.certificate.write_bytes(b""), CERTIFICATE, "no certificate in PEM form"),
    "empty key": (lambda a: a.key.write_bytes(b""), KEY, "no private key in PEM form"),
    "DER": (
        lambda a: a.certificate.write_bytes(ssl.PEM_cert_to_DER_cert(a.certificate.read_text())),
        CERTIFICATE,
        "no certificate in PEM form",
    ),
    "key in both": (lambda a: shutil.copy(a.key, a.certificate), CERTIFICATE, "no certificate in PEM form"),
    "certificate in both": (lambda a: shutil.copy(a.certificate, a.key), KEY, "no private key in PEM form"),
    "certificate cut off": (lambda a: cut(a.certificate), CERTIFICATE, "damaged or cut off"),
    "key cut off": (lambda a: cut(a.key), KEY, "damaged or cut off"),
    "certificate garbled": (lambda a: garble(a.certificate), CERTIFICATE, "damaged or cut off"),
    "second certificate cut off": (
        lambda a: a.certificate.write_bytes(a.certificate.read_bytes() + a.file.read_bytes()[:-60]),
        CERTIFICATE,
        "damaged or cut off",
    ),
    "key with a passphrase": (lambda a: lock(a.key), KEY, "it has a passphrase"),
    "key of another certificate": (
        lambda a: (
            Authority(a.key.parent / "other").issue() and shutil.copy(a.key.parent / "other" / "key.pem", a.key)
        ),
        KEY,
        "is not the key of",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_unusable_pair_is_one_sentence(authority: Authority, case: str) -> None:
    """The error names the setting, the file and the fix, without file content."""
    spoil, setting, reason = BROKEN[case]
    secret_lines = authority.key.read_text().splitlines()[1:-1]
    spoil(authority)
    with pytest.raises(TlsError) as raised:
        load_pair(authority.certificate, authority.key)
    message = str(raised.value)
    file = authority.certificate if setting == CERTIFICATE else authority.key
    assert message.startswith(f"{setting}: {file} cannot be used (")
    assert reason in message
    assert re.search(r"\)\. (Name|Check|Copy|Remove|Have) .*\.$", message)
    assert "\n" not in message
    assert not any(line in message for line in secret_lines)
    with pytest.raises(ConfigError, match=re.escape(reason)):
        load(authority.variables)
    assert load(authority.variables, reads_tls_files=False).settings.server.tls.key == authority.key


def test_a_weak_key_is_explained(authority: Authority) -> None:
    """The error for a key that OpenSSL finds too short asks for another certificate."""
    key, now = generate_private_key(65537, 1024), datetime.now(UTC)  # noqa: S505 - too short for OpenSSL
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    authority.certificate.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    authority.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(TlsError, match=r"\(OpenSSL: EE_KEY_TOO_SMALL\)\. Request a certificate with a longer key"):
        load_pair(authority.certificate, authority.key)


def test_key_and_certificate_may_share_a_file(authority: Authority) -> None:
    """One PEM file may hold both the key and the certificate."""
    authority.certificate.write_bytes(authority.key.read_bytes() + authority.certificate.read_bytes())
    _, validity = load_pair(authority.certificate, authority.certificate)
    assert validity.days_left(datetime.now(UTC)) in {89, 90}


@pytest.mark.parametrize("name", [None, "localhost", "other.example"])
def test_a_reload_replaces_the_certificate_of_new_handshakes(authority: Authority, name: str | None) -> None:
    """After a reload, handshakes with and without SNI get the new certificate."""
    tls = ServerTls(authority.certificate, authority.key)
    first = ssl.PEM_cert_to_DER_cert(authority.certificate.read_text())
    assert presented(tls.context, name) == first
    for _ in range(3):
        fresh = authority.issue()
        assert presented(tls.context, name) == first
        assert tls.reload()
        assert presented(tls.context, name) == fresh
        first = fresh


def test_a_reload_logs_the_end_of_the_new_certificate(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """A renewal ends the warning about the old certificate."""
    caplog.set_level("INFO")
    authority.issue(days=1)
    tls = ServerTls(authority.certificate, authority.key)
    tls.log_validity()
    authority.issue(days=90)
    assert tls.reload()
    tls.log_validity()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("case", BROKEN)
def test_an_invalid_pair_keeps_the_old_one(authority: Authority, caplog: pytest.LogCaptureFixture, case: str) -> None:
    """After a failed reload the old pair stays and one log line has the reason."""
    spoil, setting, reason = BROKEN[case]
    tls = ServerTls(authority.certificate, authority.key)
    old = presented(tls.context)
    spoil(authority)
    assert not tls.reload()
    assert presented(tls.context) == old
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith(f"the certificate stays as it is: {setting}: ")
    assert reason in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("age_days", "days", "level", "said"),
    [
        (1, 90, "INFO", "is valid until"),
        (1, 14.1, "INFO", "is valid until"),
        (1, 13.9, "WARNING", "in less than 14 days"),
        (10, -1, "WARNING", "expired on"),
        (-1, 90, "WARNING", "is not valid before"),
    ],
)
def test_the_log_has_the_expiry_of_a_certificate(
    authority: Authority, caplog: pytest.LogCaptureFixture, age_days: float, days: float, level: str, said: str
) -> None:
    """A valid certificate is logged as info, others as a warning."""
    caplog.set_level("INFO")
    authority.issue(age_days=age_days, days=days)
    assert ServerTls.of(TlsSettings(certificate=authority.certificate, key=authority.key)) is not None
    (record,) = caplog.records
    assert (record.levelname, said in record.getMessage()) == (level, True), record.getMessage()
    assert str(authority.certificate) in record.getMessage()


def test_without_settings_there_is_no_tls() -> None:
    """Without TLS settings there is no TLS context."""
    assert ServerTls.of(TlsSettings()) is None


@pytest.mark.parametrize("days", [-400, -1, 0.5, 1, 60, 20_000])
def test_the_expiry_is_read_from_a_file_and_a_handshake(authority: Authority, days: float) -> None:
    """Both expiry dates equal the one that `cryptography` reads."""
    certificate = authority.issue(days=days, age_days=500)
    validity = Validity.of_der(certificate)
    assert validity == Validity.of_file(authority.certificate)
    assert validity.ends_at == end_of(certificate)
    assert validity.days_left(validity.ends_at - timedelta(days=3)) == 3
