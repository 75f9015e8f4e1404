"""`jay-tracking check-config`: the settings in force, and where each came from."""

import sys
from datetime import UTC, datetime

from service.config import LoadedConfig
from service.effective_settings import effective_settings
from service.tls import Validity


def show(loaded: LoadedConfig) -> None:
    """Print a line for each setting, with secrets masked, then warnings to standard error."""
    rows = [(name, shown, loaded.origins[name]) for name, shown in effective_settings(loaded.settings).items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, shown, origin in rows:
        print(f"{name:{widths[0]}}  {shown:{widths[1]}}  {origin}")
    certificate = loaded.settings.server.tls.certificate
    if certificate is not None and (warning := Validity.of_file(certificate).warning(datetime.now(UTC))):
        print(f"warning: server.tls.certificate: {certificate} {warning}", file=sys.stderr)
