"""What each figure means, as every answer with counts says it."""

_ACTIVE = {
    "meaning": "sessions live now: created, and neither ended nor expired",
    "kind": "exact to the minute",
    "error": "at most the sessions created in the one minute that is just expiring; more while sessions of another "
    "session.ttl_seconds are alive",
}
_CREATED = {
    "meaning": "sessions created from `from` to before `to`, counted when they began, each once",
    "kind": "exact",
    "error": "none, but for creations of a user that an erasure overtook: those were never stored",
}
_ENDED = {
    "meaning": "sessions ended by DELETE or erasure from `from` to before `to`; expired sessions are not counted",
    "kind": "exact",
    "error": "none",
}
_UNIQUE_USERS = {
    "meaning": "different user ids with a session created on the UTC days that the range touches; guests have none",
    "kind": "approximate",
    "error": "standard error 0.2 % with many users, 0.8 % with few; merged over days and sources, never summed",
}
_BOUNDS = {
    "meaning": "sessions created on the UTC days from `from` to before `to`; the number is from at_least to at_most",
    "kind": "bounded",
    "error": "at_most less at_least; only the most active users of each day are kept, and none before an erasure",
}

SESSIONS = {"active": _ACTIVE, "created": _CREATED, "ended": _ENDED, "unique_users": _UNIQUE_USERS}
TOP_USERS = {
    "created": _BOUNDS,
    "others_at_most": {
        "meaning": "whoever is not listed has created at most so many sessions in the range",
        "kind": "bounded",
        "error": "an upper bound",
    },
}
USER = {
    "active": {"meaning": "the user's sessions that are live now", "kind": "exact", "error": "none"},
    "created": _BOUNDS,
}
