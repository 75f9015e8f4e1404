"""The meaning, kind and error of each figure.

Every answer with counts contains them.
"""

_ACTIVE = {
    "meaning": "live sessions: created, and neither ended nor expired",
    "kind": "exact to the minute",
    "error": "at most the sessions that were created in the minute that is expiring now. The error is larger while "
    "sessions with another session.ttl_seconds are live",
}
_CREATED = {
    "meaning": "sessions created at or after `from` and before `to`",
    "kind": "exact",
    "error": "none, except that a session which is created while its user is erased may count although it is "
    "not stored",
}
_ENDED = {
    "meaning": "sessions ended by DELETE or erasure at or after `from` and before `to`. "
    "Expired sessions do not count",
    "kind": "exact",
    "error": "none",
}
_UNIQUE_USERS = {
    "meaning": "distinct user ids with a session created on the UTC days that the range touches. "
    "Guests have no user id",
    "kind": "approximate",
    "error": "standard error 0.2 % with many users, 0.8 % with few. Days and sources are merged, never summed",
}
_BOUNDS = {
    "meaning": "sessions created on the UTC days at or after `from` and before `to`. The number is between at_least "
    "and at_most, inclusive",
    "kind": "bounded",
    "error": "at most at_most - at_least. Redis keeps only the most active users of each day. After an erasure, the "
    "user's earlier sessions are missing",
}

SESSIONS = {"active": _ACTIVE, "created": _CREATED, "ended": _ENDED, "unique_users": _UNIQUE_USERS}
TOP_USERS = {
    "created": _BOUNDS,
    "others_at_most": {
        "meaning": "the most sessions that a user who is not listed can have created in the range",
        "kind": "bounded",
        "error": "an upper bound",
    },
}
USER = {
    "active": {"meaning": "the user's live sessions", "kind": "exact", "error": "none"},
    "created": _BOUNDS,
}
