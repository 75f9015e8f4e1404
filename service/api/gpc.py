"""Global Privacy Control: the browser sends a visitor's opt-out as `Sec-GPC: 1`.

An API key with `gpc: guest` honors it: the session is a guest's, and the user id of the
request is checked but not stored. The handlers and the front door both call
`allowed_user_id`.
"""

from service.api.field_lines import elements
from service.api_keys import ApiKey, Gpc

_OPTED_OUT = "1"


def allowed_user_id(user_id: str | None, key: ApiKey | None, signal: str | None) -> str | None:
    """Return the user id that may be stored, None for a guest.

    `signal` is the value of `Sec-GPC`, or None without one.
    """
    if key is not None and key.gpc is Gpc.GUEST and _OPTED_OUT in elements(signal):
        return None
    return user_id
