"""Validates tracking sessions in back ends.

sessions.py      sessions, visits and errors
lookup.py        asks the service about many sessions at once
candidates.py    the session ids that a request presents
aiohttp_app.py   middleware for aiohttp
asgi.py          middleware for ASGI: Starlette, FastAPI, Quart, Django
answers.py       when requests are rejected, and the responses
logs.py          the session ref in log records
"""
