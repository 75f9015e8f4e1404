"""The files of the JavaScript client."""

import gzip
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_GZIPPED_BYTES = 3000


def test_the_service_serves_the_module_of_the_package() -> None:
    """The service has the module of the package, with at most 3 kB."""
    module = (ROOT / "clients/js/jay-tracking.js").read_bytes()
    assert (ROOT / "service/api/static/jay-tracking.js").read_bytes() == module
    assert len(gzip.compress(module, 9)) <= MAX_GZIPPED_BYTES
