"""Checks that run before a handler: API version, API key, scope, origin.

The keys themselves are in `service/api_keys.py`.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from aiohttp import hdrs, web

from service import errors
from service.api import versions, wire
from service.api.field_lines import combined, elements
from service.api_keys import ApiKey, Keyring, Scope

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
# The handlers of fixed paths, by method and path.
DirectHandlers: TypeAlias = Mapping[tuple[str, str], Handler]

_BEARER = re.compile("bearer +([!-~]+)", re.IGNORECASE | re.ASCII)  # RFC 6750

API_KEY = web.RequestKey("api_key", ApiKey)


class Authorizer:
    """Adds the checks to handlers, and holds the current API keys."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._used: dict[bytes, ApiKey] = {}
        self.keys_version = 0

    def replace_keys(self, keyring: Keyring) -> None:
        """Replace the API keys. Every later request needs one of the new keys."""
        self._keyring = keyring
        self._used = {}
        self.keys_version += 1

    def find(self, raw_key: bytes) -> ApiKey | None:
        """Return the key, or None if it is unknown. A key is hashed at its first use.

        `raw_key` is ASCII, because the front door takes no other heads (`heads.py`). A
        key with a comma is left to `_check_key`, which rejects it.

        Only valid keys are remembered, so there are at most as many as are configured.
        The time of a lookup reveals nothing about a key: Python compares two keys only
        if their hashes are equal, and the hashes depend on a secret of the process.
        """
        key = self._used.get(raw_key)
        if key is None and b"," not in raw_key and (key := self._keyring.find(raw_key.decode())):
            self._used[raw_key] = key
        return key

    @property
    def keys(self) -> Collection[ApiKey]:
        """The current API keys."""
        return self._keyring.keys

    def require(self, scope: Scope, handler: Handler) -> Handler:
        """Return a handler that checks version and key, then calls `handler`.

        `handler` finds the key under `request[API_KEY]`. The checks raise
        UnsupportedVersion, MalformedRequest, Unauthorized and Forbidden.
        """

        async def authorized(request: web.Request) -> web.StreamResponse:
            check_version(request)
            self._check_key_and_origin(request, request.headers.getall(wire.API_KEY, ()), scope)
            return await handler(request)

        return authorized

    def require_from_proxy(self, scope: Scope, handler: Handler) -> Handler:
        """Return a handler that checks the key only, then calls `handler`.

        The other headers of a proxy's request are the visitor's, so the API version,
        the origin and `Authorization` do not matter.
        """

        async def authorized(request: web.Request) -> web.StreamResponse:
            self._check_key(request, request.headers.getall(wire.API_KEY, ()), scope)
            return await handler(request)

        return authorized

    def require_without_version(self, scope: Scope, handler: Handler) -> Handler:
        """Return a handler that checks the key but no version, then calls `handler`.

        It is for programs that do not send an API version, such as Prometheus. They may
        send the key as `Authorization: Bearer` too.
        """

        async def authorized(request: web.Request) -> web.StreamResponse:
            tokens = _bearer_tokens(combined(request.headers, hdrs.AUTHORIZATION))
            raw_keys = request.headers.getall(wire.API_KEY, ())
            if tokens and raw_keys:
                raise errors.MalformedRequest(
                    f"Send one API key: in {wire.API_KEY} or, for /metrics, in Authorization, not in both."
                )
            self._check_key_and_origin(request, tokens or raw_keys, scope)
            return await handler(request)

        return authorized

    def _check_key_and_origin(self, request: web.Request, raw_keys: Sequence[str], scope: Scope) -> None:
        key = self._check_key(request, raw_keys, scope)
        if not key.allows_origin(combined(request.headers, hdrs.ORIGIN)):
            raise errors.Forbidden("The API key's `origins` do not list the origin of this page.")

    def _check_key(self, request: web.Request, raw_keys: Sequence[str], scope: Scope) -> ApiKey:
        """Return the key of a request, and store it in the request as `API_KEY`."""
        # A proxy may join two lines with a comma. No key has a comma.
        if len(raw_keys) > 1 or (raw_keys and "," in raw_keys[0]):
            raise errors.MalformedRequest(f"Send one API key, in one {wire.API_KEY} header, without a comma.")
        key = self._keyring.find(raw_keys[0]) if raw_keys else None
        if key is None:
            raise errors.Unauthorized(f"Send a valid API key in the header {wire.API_KEY}.")
        request[API_KEY] = key
        if scope not in key.scopes:
            raise errors.Forbidden(f"Use an API key with the scope `{scope}`.")
        return key


def check_version(request: web.Request) -> None:
    """Raise UnsupportedVersion for a version that the service does not have."""
    if versions.resolve(combined(request.headers, wire.API_VERSION)) is None:
        raise errors.UnsupportedVersion(
            f"Send {wire.API_VERSION} with a version of `supported`, or leave it out for the latest.",
            supported=versions.SUPPORTED,
        )


def _bearer_tokens(authorization: str | None) -> list[str]:
    credentials = list(elements(authorization))
    tokens = [found[1] for one in credentials if (found := _BEARER.fullmatch(one))]
    if tokens and len(credentials) > 1:
        raise errors.MalformedRequest("Send one Authorization header, with one token.")
    return tokens
