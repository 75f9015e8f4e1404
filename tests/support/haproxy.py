"""A HAProxy in front of the service, with the shipped configuration."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.certificates import Authority
from tests.support.processes import Process
from tests.support.servers import free_port

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy" / "jay-tracking.cfg"


def start_haproxy(folder: Path, upstream: str, *, pair: Authority | None = None) -> Process:
    """Run HAProxy with the shipped configuration in front of the URL `upstream`.

    Returns when HAProxy forwards requests. Only addresses differ from the shipped
    configuration. Without the certificate of `pair`, TLS is left out. The log is
    `stdout` in `folder`.
    """
    folder.mkdir(exist_ok=True)
    port = free_port()
    configuration = CONFIGURATION.read_text("utf-8")
    tls = ""
    if pair:
        pem = folder / "jay.pem"
        pem.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
        tls = f" ssl crt {pem} alpn h2,http/1.1"
    for shipped, ours, count in (
        ("127.0.0.1:8080", urlsplit(upstream).netloc, 2),
        ("bind :443 ssl crt /etc/haproxy/tls/jay.pem alpn h2,http/1.1", f"bind 127.0.0.1:{port}{tls}", 1),
    ):
        assert configuration.count(shipped) == count, shipped
        configuration = configuration.replace(shipped, ours)
    file = folder / "haproxy.cfg"
    file.write_text(configuration)
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        haproxy = subprocess.Popen([str(HAPROXY), "-db", "-f", str(file)], stdout=stdout, stderr=stderr)
    scheme, trusting = ("https", pair.trusting()) if pair else ("http", None)
    return Process(haproxy, folder, trusting, f"{scheme}://127.0.0.1:{port}").in_front("HAProxy")
