"""The settings in force as strings for people and logs, without secrets."""

from service.config.options import options
from service.config.settings import Settings


def effective_settings(settings: Settings) -> dict[str, str]:
    """Return every setting by its name, as it may be shown."""
    return {option.name: option.show(option.value_in(settings)) for option in options()}


def changed_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that differ from their defaults, as they may be shown."""
    default = Settings()
    return {
        option.name: option.show(option.value_in(settings))
        for option in options()
        if option.value_in(settings) != option.value_in(default)
    }
