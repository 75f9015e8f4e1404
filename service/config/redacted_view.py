"""The settings in force as strings for people and logs, without secrets."""

from service.config.setting_list import all_settings
from service.config.settings import Settings


def effective_settings(settings: Settings) -> dict[str, str]:
    """Return every setting by its name, without secrets."""
    return {setting.name: setting.show(setting.value_in(settings)) for setting in all_settings()}


def changed_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that differ from their defaults, without secrets."""
    default = Settings()
    return {
        setting.name: setting.show(setting.value_in(settings))
        for setting in all_settings()
        if setting.value_in(settings) != setting.value_in(default)
    }
