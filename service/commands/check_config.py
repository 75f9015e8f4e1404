"""`jay-tracking check-config`: prints the settings in force and their provenance."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from service.commands.terminal import MIN_WIDTH
from service.config.certificate import Validity
from service.config.cross_field import warnings
from service.config.loading import LoadedConfig
from service.config.redacted_view import effective_settings
from service.config.redis_url import client_certificate
from service.config.schema import config_schema_json


def show(loaded: LoadedConfig) -> None:
    """Print each setting, then warnings to standard error. Secrets are hidden.

    A pipe or a file gets one line per setting. A terminal gets lines that fit its
    width. There a long row continues below its name.
    """
    rows = [(name, shown, loaded.provenance[name]) for name, shown in effective_settings(loaded.settings).items()]
    width = _width()
    if width is None or max(map(len, _aligned(rows))) <= width:
        lines = _aligned(rows)
    else:
        lines = [line for row in rows for line in _wrapped(row, max(len(name) for name, _, _ in rows) + 2, width)]
    print("\n".join(lines))
    for sentence in warnings(loaded.settings):
        print(f"warning: {sentence}", file=sys.stderr)
    now = datetime.now(UTC)
    certificate = loaded.settings.server.tls.certificate
    if certificate is not None and (warning := Validity.of_file(certificate).warning(now)):
        print(f"warning: server.tls.certificate: {certificate} {warning}", file=sys.stderr)
    of_redis = client_certificate(loaded.settings.redis.url)
    if of_redis is not None and (validity := Validity.of_file(of_redis)).warning(now):
        dates = f"from {validity.starts_at:%Y-%m-%d} to {validity.ends_at:%Y-%m-%d}"
        print(f"warning: redis.url: the certificate in ssl_certfile is valid {dates}. Renew it", file=sys.stderr)


def show_schema() -> None:
    """Print the JSON Schema of `config.yaml`.

    It is the content of `config.schema.json`.
    """
    print(config_schema_json(), end="")


def _width() -> int | None:
    return max(shutil.get_terminal_size().columns, MIN_WIDTH) if sys.stdout.isatty() else None


def _aligned(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{name:{widths[0]}}  {shown:{widths[1]}}  {provenance}" for name, shown, provenance in rows]


def _wrapped(row: tuple[str, str, str], indent: int, width: int) -> Iterator[str]:
    """Yield the lines of a row.

    They break between words only, so that URLs and paths can be copied.
    """
    name, shown, provenance = row
    first = f"{name:{indent}}{shown}  {provenance}"
    if len(first) <= width:
        yield first
        return
    value = textwrap.wrap(shown, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
    if max(map(len, value)) <= width - indent:
        yield f"{name:{indent}}{value[0]}"
        del value[0]
    else:
        yield name
    for line in [*value, provenance]:
        # A line that is too long for the column begins further left.
        yield " " * min(indent, max(width - len(line), 2)) + line
