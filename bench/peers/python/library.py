"""aiohttp-session with its RedisStorage.

The library decides on the cookie, the key and the record. It reads no session header.
"""

import aiohttp_session
from aiohttp import web
from aiohttp_session.redis_storage import RedisStorage

from bench.peers.python.contract import DAY_SECONDS, REDIS, SOURCE, TOKEN, new_application, new_record, serve


async def create(request: web.Request) -> web.Response:
    """Create a session. The library gives it an id when it saves it, after this."""
    body = await request.json() if request.body_exists else {}
    session = await aiohttp_session.new_session(request)
    session.update(new_record(body))
    await request.app[REDIS].hincrby("count", SOURCE, 1)
    return web.json_response(dict(session), status=201)


async def read(request: web.Request) -> web.Response:
    """Read a session."""
    session = await aiohttp_session.get_session(request)
    if session.new:
        return web.json_response({"error": "not found"}, status=404)
    return web.json_response({"session_id": session.identity, **session})


async def end(request: web.Request) -> web.Response:
    """Delete the key. `session.invalidate` would leave an empty record for a day."""
    given = request.cookies.get(TOKEN)
    if given and await request.app[REDIS].delete(f"{TOKEN}_{given}"):
        await request.app[REDIS].hincrby("count", SOURCE, -1)
    response = web.Response(status=204)
    response.del_cookie(TOKEN, secure=True, httponly=True, samesite="Lax")
    return response


if __name__ == "__main__":
    application = new_application(POST=create, GET=read, DELETE=end)
    storage = RedisStorage(application[REDIS], cookie_name=TOKEN, max_age=DAY_SECONDS, secure=True, samesite="Lax")
    aiohttp_session.setup(application, storage)
    serve(application)
