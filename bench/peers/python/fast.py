"""FastAPI on uvicorn with uvloop and httptools, redis-py and the CORS middleware."""

import json
import uuid
from typing import Annotated

import redis.asyncio
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel

from bench.peers.python.contract import (
    ALLOWED,
    API_KEY,
    DAY_SECONDS,
    EXPOSED,
    HEADERS,
    ORIGIN,
    PATH,
    PORT,
    REDIS_PORT,
    SOURCE,
    TOKEN,
    new_record,
)

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(
    CORSMiddleware,
    allow_origins=[ORIGIN],
    allow_credentials=True,
    allow_methods=["GET", "POST", "DELETE"],
    allow_headers=ALLOWED,
    expose_headers=EXPOSED,
    max_age=600,
)
pool = redis.asyncio.BlockingConnectionPool(host="127.0.0.1", port=REDIS_PORT, max_connections=64, timeout=None)
client = redis.asyncio.Redis(connection_pool=pool)


class Body(BaseModel):
    """The JSON of a creation."""

    user_id: str | None = None


async def guard(x_api_key: Annotated[str | None, Header()] = None) -> None:
    """Check the API key."""
    if x_api_key != API_KEY:
        raise HTTPException(401, headers=HEADERS)


def session_id(request: Request) -> str | None:
    """Return the session id of the cookie or of the header."""
    return request.cookies.get(TOKEN) or request.headers.get(TOKEN)


@app.post(PATH, status_code=201, dependencies=[Depends(guard)])
async def create(response: Response, body: Body | None = None) -> dict[str, str]:
    """Create a session."""
    new_id = str(uuid.uuid4())
    session = {"session_id": new_id, **new_record(body.model_dump() if body else {})}
    await client.set("s:" + new_id, json.dumps(session), ex=DAY_SECONDS)
    await client.hincrby("count", SOURCE, 1)
    response.headers.update({**HEADERS, TOKEN: new_id})
    response.set_cookie(TOKEN, new_id, max_age=DAY_SECONDS, httponly=True, secure=True, samesite="lax")
    return session


@app.get(PATH, dependencies=[Depends(guard)])
async def read(request: Request, response: Response) -> dict[str, str]:
    """Read a session."""
    given = session_id(request)
    value = await client.get("s:" + given) if given else None
    if not value:
        raise HTTPException(404, headers=HEADERS)
    response.headers.update(HEADERS)
    session: dict[str, str] = json.loads(value)
    return session


@app.delete(PATH, status_code=204, dependencies=[Depends(guard)])
async def end(request: Request, response: Response) -> None:
    """End a session."""
    given = session_id(request)
    if given and await client.delete("s:" + given):
        await client.hincrby("count", SOURCE, -1)
    response.headers.update(HEADERS)
    response.delete_cookie(TOKEN, secure=True, httponly=True, samesite="lax")


if __name__ == "__main__":
    # The default of the timeout, 5 s, closes idle connections before they are measured.
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=PORT,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )
