"""The sizes that a request's head may have. `json_body.py` has the limits of bodies."""

MAX_LINE_BYTES = 4096
MAX_FIELD_BYTES = 8190
MAX_HEADERS = 64
