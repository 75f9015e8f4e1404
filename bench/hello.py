"""aiohttp's hello world, the baseline: one route, no access log, uvloop."""

import asyncio
import sys

import uvloop
from aiohttp import web


async def hello(_: web.Request) -> web.Response:
    """Answer with a short string."""
    return web.Response(text="Hello, world")


async def main() -> None:
    """Serve on a free port until killed, and print the port."""
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
