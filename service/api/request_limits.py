"""Limits of a request's head.

The limits of bodies are in `create_body.py` and `lookup_body.py`.
"""

MAX_LINE_BYTES = 4096
MAX_FIELD_BYTES = 8190
MAX_HEADERS = 64

# From the first byte of a head to its end. A new connection has the same time to
# send its first byte.
HEAD_SECONDS = 15.0
