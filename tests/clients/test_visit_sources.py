"""The source files of the JavaScript and the Kotlin client."""

import gzip
import re
from pathlib import Path

import pytest

from tests.clients.conformance import CONTENT

ROOT = Path(__file__).parents[2]
MAX_GZIPPED_BYTES = 3000
# The first pause as a multiple of the constant in the file.
FIRST_PAUSES = {"clients/js/jay-tracking.js": 2, "clients/kotlin/JayTracking.kt": 1}


def test_the_service_serves_the_module_of_the_package() -> None:
    """The service has the module of the package, with at most 3 kB."""
    module = (ROOT / "clients/js/jay-tracking.js").read_bytes()
    assert (ROOT / "service/api/static/jay-tracking.js").read_bytes() == module
    assert len(gzip.compress(module, 9)) <= MAX_GZIPPED_BYTES


@pytest.mark.parametrize("file", FIRST_PAUSES)
def test_the_numbers_are_those_of_the_cases(file: str) -> None:
    """Tries, pauses and limits are those of clients of visits."""
    found = re.findall(
        r"^(?:private )?const (?:val )?(\w+) = ([\d_]+)L?;?$", (ROOT / file).read_text("utf-8"), re.MULTILINE
    )
    constants = {name: int(value.replace("_", "")) for name, value in found}
    options = CONTENT["options"]["visit"]
    assert constants["TRIES"] == options["attempts"]
    assert constants["PAUSE_MS"] * FIRST_PAUSES[file] == options["pause_seconds"] * 1000
    assert constants["MAX_WAIT_MS"] == options["longest_retry_after_seconds"] * 1000
    assert constants["TIMEOUT_MS"] == options["timeout_seconds"] * 1000
    assert constants["VALID_MS"] == options["session_is_valid_seconds"] * 1000
