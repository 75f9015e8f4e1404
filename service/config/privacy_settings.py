"""The settings of the privacy notice, and their checks."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.config.declaration import setting
from service.config.host_name import host_error

MAX_LENGTH = 500
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9.-]{1,253})", re.ASCII)
_URL = re.compile(r"https://[!-~]+", re.ASCII)


def check_contact(value: str | None) -> str | None:
    """Check the contact for questions about data: an email address or a page."""
    if value is None:
        return None
    email = _EMAIL.fullmatch(value)
    if email and "." in email[1] and host_error(email[1]) is None:
        return None
    return None if _is_url(value) else "must be an email address, or a URL that begins with https://"


def check_objection_url(value: str | None) -> str | None:
    """Check the page on which people object."""
    return None if value is None or _is_url(value) else "must be a URL that begins with https://"


def _is_url(value: str) -> bool:
    if len(value) > MAX_LENGTH or not _URL.fullmatch(value):
        return False
    try:
        parts = urlsplit(value)
        return parts.port != 0 and not parts.username and host_error(parts.hostname or "") is None
    except ValueError:  # an invalid port or address
        return False


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """The contact and the page for objections in the privacy notice."""

    contact: str | None = setting(
        None, "email address or page for questions about data, shown in the privacy notice", check=check_contact
    )
    objection_url: str | None = setting(
        None, "page on which people can object, shown in the privacy notice", check=check_objection_url
    )
