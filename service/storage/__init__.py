"""Redis: keys, scripts, connection, and the stores built on them. Knows nothing of HTTP."""
