"""Creates sessions on the fast path, by the functions of the handler."""

import time

from aiohttp import hdrs

from service import errors
from service.api import wire
from service.api.create_body import EXAMPLE, FIELDS, MAX_BYTES, user_id_in
from service.api.create_limits import CreateLimits
from service.api.front_door.answers import expires_line, start_of
from service.api.front_door.exchange import Answer, Exchange, Peer
from service.api.front_door.heads import text_of
from service.api.gpc import allowed_user_id
from service.api.handlers.sessions import id_taken, session_already_ended
from service.api.idempotency import idempotency_key
from service.api.json_body import WHITE_SPACE, parse_object
from service.api.responses import json_response
from service.api.session_body import session_json
from service.api.session_token import SessionCookie
from service.sessions import Session, SessionFactory, SessionStore
from service.telemetry.metrics import Metrics

_FORWARDED_FOR, _SEC_GPC = wire.X_FORWARDED_FOR.lower().encode(), wire.SEC_GPC.lower().encode()
_IDEMPOTENCY_KEY = wire.IDEMPOTENCY_KEY.lower().encode()
_MEDIA_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
_MAX_DIGITS = 4


class Creations:
    """Begins and finishes the exchanges of creations."""

    def __init__(
        self,
        sessions: SessionStore,
        factory: SessionFactory,
        cookie: SessionCookie,
        *,
        limits: CreateLimits,
        metrics: Metrics,
        source: str,
    ) -> None:
        self._sessions = sessions
        self._factory = factory
        self._cookie = cookie
        self._limits = limits
        self._metrics = metrics
        self._source = source
        self._start = start_of(json_response(b"", 201))

    def begin(self, exchange: Exchange, data: bytes, peer: Peer) -> Exchange | None:
        """Create a session. Returns None if the request is for aiohttp."""
        key, headers = exchange.plan.key, exchange.plan.headers
        if key is None:
            return None
        once = text_of(headers.get(_IDEMPOTENCY_KEY))
        try:
            request_key = idempotency_key(() if once is None else (once,))
            user_id = _user_id(exchange, data)
        except (errors.RequestError, ValueError):
            return None  # aiohttp's way explains it
        if key.create_limit is not None:
            forwarded = text_of(headers.get(_FORWARDED_FOR)), text_of(headers.get(b"forwarded"))
            self._limits.count_peer(key, key.create_limit, peer(), *forwarded)
        user_id, source = allowed_user_id(user_id, key, text_of(headers.get(_SEC_GPC))), key.source or self._source
        if request_key is None:
            exchange.session = self._factory.new(source, user_id)
            exchange.deferred = self._sessions.create(exchange.session)
        else:
            exchange.session, request_hash = self._factory.new_once(source, user_id, key.name, request_key)
            exchange.deferred = self._sessions.create_once(exchange.session, request_hash)
        return exchange

    def finish(self, exchange: Exchange, stored: "bool | Session | None", _: str) -> Answer:
        """Return the answer.

        `stored` is whether the new session was stored. With an idempotency key, it is
        the session that was stored first, or None when that is no longer live.
        """
        session = exchange.session if stored is True else stored
        if session is None:
            raise session_already_ended()
        if session is False:
            raise id_taken()
        exchange.session_id = session.id
        if session == exchange.session:
            self._metrics.created.add((session.source,))
        cookie = self._cookie.setting(session.id, None if stored is True else session.seconds_left(time.time()))
        token = f"{wire.SESSION_TOKEN}: {session.id}\r\n{hdrs.SET_COOKIE}: {cookie}\r\n"
        return 201, self._start + token + expires_line(session), session_json(session)


def _user_id(exchange: Exchange, data: bytes) -> str | None:
    """Return the user id in a body. Raises ValueError if aiohttp has to read it."""
    headers = exchange.plan.headers
    digits = headers.get(b"content-length", b"0")
    if len(digits) > _MAX_DIGITS or (length := int(digits)) > MAX_BYTES:
        raise ValueError("the body is too large")
    start = exchange.size
    exchange.size += length
    if exchange.size > len(data):
        raise ValueError("the body has not arrived")
    body = data[start : exchange.size].strip(WHITE_SPACE)
    if not body:
        return None
    if headers.get(b"content-type", b"").lower() not in _MEDIA_TYPES:
        raise ValueError("the media type needs a closer look")
    return user_id_in(parse_object(body, FIELDS, EXAMPLE))
