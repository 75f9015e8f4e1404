"""The settings in force as texts for people and logs, without secrets."""

from urllib.parse import urlsplit

from service.config.loading import options
from service.config.settings import Settings


def effective_settings(settings: Settings) -> dict[str, str]:
    """Return each setting's value by its name, as it may be shown."""
    return {
        option.name: _shown(option.name, _value(settings, option.name), is_secret=option.field.metadata["secret"])
        for option in options()
    }


def changed_settings(settings: Settings) -> dict[str, str]:
    """Return those whose value is not the default."""
    shown, default = effective_settings(settings), Settings()
    return {name: text for name, text in shown.items() if _value(settings, name) != _value(default, name)}


def _value(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


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
