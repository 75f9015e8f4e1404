"""What a request needs before its handler runs: a version that exists, and a key with the right scope and origin."""

import re
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import hdrs, web

from service import errors, versions
from service.api import wire
from service.api_keys import ApiKey, Keyring, Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BEARER = re.compile("bearer +([!-~]+)", re.IGNORECASE | re.ASCII)  # RFC 6750

API_KEY = web.RequestKey("api_key", ApiKey)


class Authorizer:
    """Guards handlers. `keyring` may be replaced at any time; requests that come later see the new keys."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def require(self, scope: Scope, handler: Handler) -> Handler:
        """Return `handler` behind the checks; it finds the key under `request[API_KEY]`."""

        async def authorized(request: web.Request) -> web.StreamResponse:
            headers = request.headers
            if versions.resolve(headers.get(wire.API_VERSION)) is None:
                raise errors.UnsupportedVersion(
                    f"Send {wire.API_VERSION} with a version of `supported`, or leave it out for the latest.",
                    supported=versions.SUPPORTED,
                )
            self._admit(request, headers.getall(wire.API_KEY, ()), scope)
            return await handler(request)

        return authorized

    def require_key(self, scope: Scope, handler: Handler) -> Handler:
        """Return `handler` behind a check of the key alone, for programs that know no version of the API.

        They may send the key as `Authorization: Bearer` too, as Prometheus does.
        """

        async def authorized(request: web.Request) -> web.StreamResponse:
            given = request.headers.getall(hdrs.AUTHORIZATION, ())
            tokens = [found[1] for value in given if (found := _BEARER.fullmatch(value))]
            self._admit(request, [*request.headers.getall(wire.API_KEY, ()), *tokens], scope)
            return await handler(request)

        return authorized

    def _admit(self, request: web.Request, raw_keys: Sequence[str], scope: Scope) -> None:
        if len(raw_keys) > 1:
            raise errors.MalformedRequest(f"Send one {wire.API_KEY} header, not several.")
        key = self.keyring.find(raw_keys[0]) if raw_keys else None
        if key is None:
            raise errors.Unauthorized(f"Send a valid API key in the header {wire.API_KEY}.")
        request[API_KEY] = key
        if scope not in key.scopes:
            raise errors.Forbidden(f"Use an API key with the scope `{scope}`.")
        if not key.allows_origin(request.headers.get(hdrs.ORIGIN)):
            raise errors.Forbidden("The API key's `origins` do not list the origin of this page.")
