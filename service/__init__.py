"""Tracking sessions correlate a visitor's actions over many requests.

A visitor is anonymous unless the visitor has agreed to be identified. Where to look:

    __main__.py, cli.py  the entry point, the command line
    commands/            one module per command: counts, users, doctor, demo
    config/              settings, loading, validation
    server/              the supervisor, the workers, the listener
    app.py               composes all parts: the only place with both HTTP and Redis
    api/                 HTTP: read routes.py, dispatcher.py, auth.py, then handlers/
    storage/             Redis: read keyspace.py, session_store.py, then scripts/*.lua
    telemetry/           request log, metrics, Prometheus export, tracing
    anonymous_file.py    a file without a name, which a process shares with its forks
    backoff.py           growing pauses between the attempts at an operation that fails
    process_lock.py      a lock that a process shares with its forks
    stop_signals.py      blocks signals while a process starts or ends

The modules of the domain need only the standard library. They declare the contracts of
the stores:

    sessions.py, users.py, digests.py, counts.py, api_keys.py, rate_limits.py,
    store_status.py, time_zones.py, quantities.py
    errors.py            all errors as a tree
"""

__version__ = "0.1.0"
