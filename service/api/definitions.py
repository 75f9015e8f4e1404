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
    "meaning": "sessions created from `from` to before `to`",
    "kind": "exact",
    "error": "none, except for creations of a user that run at the same time as the user's erasure. "
    "They count, although they are not stored",
}
_ENDED = {
    "meaning": "sessions ended by DELETE or erasure from `from` to before `to`. Expired sessions do not count",
    "kind": "exact",
    "error": "none",
}
_UNIQUE_USERS = {
    "meaning": "different user ids with a session created on the UTC days that the range touches. "
    "Guests have no user id",
    "kind": "approximate",
    "error": "standard error 0.2 % with many users, 0.8 % with few. Days and sources are merged, never summed",
}
_BOUNDS = {
    "meaning": "sessions created on the UTC days from `from` to before `to`. The number is from at_least to at_most",
    "kind": "bounded",
    "error": "at most at_most - at_least. Only the most active users of each day are kept, "
    "and none from before an erasure",
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
