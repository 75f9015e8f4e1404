"""A comparison with other session services: `make bench-peers`.

`__main__` has the options and the order of events. `systems` lists the measured servers
and starts them, and `requests` has what a browser sends. `client` sends it in small
numbers, and `verify` checks the answers. `measure` runs the load and reads CPU time and
memory. `figures` makes medians, ratios and tables, and `chart` draws them.

The servers are in `python`, `node` and `go`. They do what this service does for a
session, without its request ids, log, metrics, limits and counts by user.
"""
