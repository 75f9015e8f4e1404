"""`jay-tracking check-config`: the settings in force, and where each came from."""

from service.config import LoadedConfig
from service.effective_settings import effective_settings


def show(loaded: LoadedConfig) -> None:
    """Print a line for each setting; secrets are masked."""
    rows = [(name, shown, loaded.origins[name]) for name, shown in effective_settings(loaded.settings).items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, shown, origin in rows:
        print(f"{name:{widths[0]}}  {shown:{widths[1]}}  {origin}")
