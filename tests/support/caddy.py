"""The shipped Caddy in front of the service, with Caddy's own authority."""

import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.processes import Process, eventually
from tests.support.servers import free_port

FOLDER = Path(__file__).parents[2] / "deploy" / "caddy"
_UPSTREAM = "api:{$JAY_SERVER__PORT:8080}"
_UNDERSCORES = "\t\texpected_underscore_headers __Secure-jay_tracking\n"
_ROOT = Path("caddy", "pki", "authorities", "local", "root.crt")


def version_of(program: str) -> tuple[int, int]:
    """Return the major and minor version of a Caddy."""
    shown = subprocess.run([program, "version"], check=True, capture_output=True, text=True).stdout
    found = re.match(r"v?(\d+)\.(\d+)", shown)
    assert found, shown
    return int(found[1]), int(found[2])


def _found() -> dict[tuple[int, int], str]:
    paths = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/bin")
    programs = [program for path in paths if (program := shutil.which("caddy", path=path))]
    return {version_of(program): program for program in dict.fromkeys(programs)}


# The installed programs by version.
CADDIES = _found()


def start_caddy(program: str, folder: Path, upstream: str) -> Process:
    """Run Caddy with the shipped file in front of the URL `upstream`.

    Returns when Caddy answers. Only the name of the service, the port and the folder of
    the data differ from the container.
    """
    folder.mkdir()
    port = free_port()
    site = (FOLDER / "Caddyfile").read_text("utf-8")
    # Debian's Caddy does not know this option, and passes all headers.
    passes_all = version_of(program) < (2, 11)
    for shipped, ours in (
        (_UNDERSCORES, "" if passes_all else _UNDERSCORES),
        (_UPSTREAM, urlsplit(upstream).netloc),
        ("\nlocalhost {\n", f"\nhttps://localhost:{port} {{\n\tbind 127.0.0.1\n"),
    ):
        assert site.count(shipped) == 1, shipped
        site = site.replace(shipped, ours)
    file = folder / "Caddyfile"
    file.write_text(site)
    places = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        popen = subprocess.Popen(
            [program, "run", "--adapter", "caddyfile", "--config", str(file)],
            stdout=stdout,
            stderr=stderr,
            env={"PATH": os.environ["PATH"], **places},
        )
    root = folder / "data" / _ROOT
    # Caddy writes the file in place, so it may be incomplete.
    eventually(lambda: root.exists() and root.read_text().endswith("END CERTIFICATE-----\n"), "an authority")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(root)
    return Process(popen, folder, trusting, f"https://localhost:{port}").in_front("Caddy")
