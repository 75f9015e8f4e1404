"""aiohttp, redis-py and aiohttp-cors in the usual way: one command after the other."""

import json
import uuid

from aiohttp import web

from bench.peers.python.contract import DAY_SECONDS, REDIS, SOURCE, TOKEN, new_application, new_record, serve


def session_id(request: web.Request) -> str | None:
    """Return the session id of the cookie or of the header."""
    return request.cookies.get(TOKEN) or request.headers.get(TOKEN)


async def create(request: web.Request) -> web.Response:
    """Create a session."""
    body = await request.read()
    new_id = str(uuid.uuid4())
    session = {"session_id": new_id, **new_record(json.loads(body) if body else {})}
    redis = request.app[REDIS]
    await redis.set("s:" + new_id, json.dumps(session), ex=DAY_SECONDS)
    await redis.hincrby("count", SOURCE, 1)
    response = web.json_response(session, status=201, headers={TOKEN: new_id})
    response.set_cookie(TOKEN, new_id, max_age=DAY_SECONDS, httponly=True, secure=True, samesite="Lax")
    return response


async def read(request: web.Request) -> web.Response:
    """Read a session."""
    given = session_id(request)
    value = await request.app[REDIS].get("s:" + given) if given else None
    if not value:
        return web.json_response({"error": "not found"}, status=404)
    return web.json_response(json.loads(value))


async def end(request: web.Request) -> web.Response:
    """End a session."""
    given = session_id(request)
    if given and await request.app[REDIS].delete("s:" + given):
        await request.app[REDIS].hincrby("count", SOURCE, -1)
    response = web.Response(status=204)
    response.del_cookie(TOKEN, secure=True, httponly=True, samesite="Lax")
    return response


if __name__ == "__main__":
    serve(new_application(POST=create, GET=read, DELETE=end))
