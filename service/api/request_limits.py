"""Size limits of a request's head.

The limits of bodies are in `create_body.py` and `lookup_body.py`.
"""

MAX_LINE_BYTES = 4096
MAX_FIELD_BYTES = 8190
MAX_HEADERS = 64
