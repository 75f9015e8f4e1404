"""The limits of a request's head. `json_body.py` has those of bodies."""

MAX_LINE_BYTES = 4096
MAX_FIELD_BYTES = 8190
MAX_HEADERS = 64

# From the first byte of a head to its end. A new connection has as long to send a first byte.
HEAD_SECONDS = 15.0
