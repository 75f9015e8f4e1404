"""`jay-tracking check-config`: the settings in force, and where each came from."""

from urllib.parse import urlsplit

from service.config import LoadedConfig, leaves


def show(loaded: LoadedConfig) -> None:
    """Print a line for each setting; secrets are masked."""
    rows = []
    for leaf in leaves():
        value: object = loaded.settings
        for part in leaf.name.split("."):
            value = getattr(value, part)
        rows.append(
            (leaf.name, _shown(leaf.name, value, is_secret=leaf.field.metadata["secret"]), loaded.origins[leaf.name])
        )
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, shown, origin in rows:
        print(f"{name:{widths[0]}}  {shown:{widths[1]}}  {origin}")


def _shown(name: str, value: object, *, is_secret: bool) -> str:
    if name == "api_keys" and isinstance(value, tuple):
        return ", ".join(f"{key.name} ({'+'.join(sorted(key.scopes))})" for key in value) or "none: nobody may call"
    if name == "redis.url":
        return _without_password(str(value))
    if is_secret:
        return "(secret)"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc and not parts.query:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return parts._replace(
        netloc=f"{user}:***@{host}" if credentials else host, query="***" if parts.query else ""
    ).geturl()
