"""A back end that another one asks."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/<path:_>")
def stock(_: str) -> str:
    """Answer with a number."""
    return "7"


app.run("127.0.0.1", int(os.environ["PORT"]))
