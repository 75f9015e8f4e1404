"""A back end that knows nothing of sessions or traces, and asks another one."""

import os

import requests
from flask import Flask

app = Flask(__name__)


@app.get("/<path:_>")
def visit(_: str) -> str:
    """Answer with the stock of the other back end."""
    return requests.get(os.environ["STOCK_URL"], timeout=10).text


app.run("127.0.0.1", int(os.environ["PORT"]))
