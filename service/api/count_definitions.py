"""The meaning, kind and error of each figure.

Every answer with counts contains them.
"""

# The error of figures of past hours, which are calculated from the lifetime.
_ERROR_OF_PAST_HOURS = (
    "none while session.ttl_seconds is a whole number of hours and has not changed. Otherwise, the sessions of an "
    "hour count as created evenly over it, so the error is at most the sessions created in one hour. After a change "
    "of session.ttl_seconds, all sessions count as if they had the new lifetime"
)
_ACTIVE = {
    "meaning": "live sessions: created, and neither ended nor expired. In totals and sources now, in the series at "
    "`start`. null for a start in the future, and until one session lifetime after the oldest counts",
    "kind": "exact to the minute",
    "error": "now at most the sessions that were created in the minute that is expiring, and more while sessions "
    f"with another session.ttl_seconds are live. At `start` {_ERROR_OF_PAST_HOURS}",
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
_EXPIRED = {
    "meaning": "sessions whose lifetime ended at or after `from` and before `to`. Ended sessions do not count. null "
    "until one session lifetime after the oldest counts. The totals leave such intervals out",
    "kind": "exact",
    "error": f"in the hour in progress, the sessions of one minute. In hours that are over, {_ERROR_OF_PAST_HOURS}",
}
_PEAK_ACTIVE = {
    "meaning": "the largest `active` at a full hour of the range, or now. null when none is known",
    "kind": "exact to the minute",
    "error": "that of `active`. Between two full hours, more sessions may have been active",
}
_PEAK_AT = {
    "meaning": "the first time in the range at which `active` was `peak_active`",
    "kind": "exact to the minute",
    "error": "that of `peak_active`",
}
_UNIQUE_USERS = {
    "meaning": "distinct user ids with a session created, or given to a session, on the UTC days that the range or "
    "interval touches. Guests have no user id",
    "kind": "approximate",
    "error": "standard error 0.2 % with many users, 0.8 % with few. Days and sources are merged, never summed",
}
_CONSENT_GIVEN = {
    "meaning": "sessions that got a user id after their start, at or after `from` and before `to`. A session that "
    "gets another user id counts here and in `consent_withdrawn`",
    "kind": "exact",
    "error": "none",
}
_CONSENT_WITHDRAWN = {
    "meaning": "sessions that lost their user id and went on, at or after `from` and before `to`",
    "kind": "exact",
    "error": "none",
}
_BOUNDS = {
    "meaning": "sessions created with the user id on the UTC days at or after `from` and before `to`. The number is "
    "between at_least and at_most, inclusive",
    "kind": "bounded",
    "error": "at most at_most - at_least. Redis keeps only the most active users of each day. After an erasure, the "
    "user's earlier sessions are missing, and so are sessions whose consent was withdrawn",
}

SESSIONS = {
    "active": _ACTIVE,
    "created": _CREATED,
    "ended": _ENDED,
    "expired": _EXPIRED,
    "unique_users": _UNIQUE_USERS,
    "consent_given": _CONSENT_GIVEN,
    "consent_withdrawn": _CONSENT_WITHDRAWN,
    "peak_active": _PEAK_ACTIVE,
    "peak_at": _PEAK_AT,
}
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
