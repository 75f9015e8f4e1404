"""Redis: keys, scripts, connections, and the stores built on them. No HTTP."""
