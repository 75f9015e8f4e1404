"""Tracking sessions: correlate a visitor's actions over many requests, anonymously unless the visitor agreed.

How a request travels, and where to look:

    __main__.py, cli.py  the entry, which holds signals back; the command line
    server.py            start, workers, drain; supervisor.py has the parent process, event_loop.py the workers' loop
    commands/            the rest of the command line: counts, users, doctor
    app.py               puts the parts together: where HTTP meets Redis
    api/                 HTTP: routes.py first, then boundary.py, authorization.py, sessions.py and analytics.py
    storage/             Redis: keyspace.py first, then session_store.py, analytics.py, users.py and scripts/*.lua
    settings.py          every setting with its meaning; config.py reads them from file and environment.py
    sessions.py, counts.py, api_keys.py, versions.py    the subject itself, without any I/O
    errors.py, logs.py   everything that can go wrong, drawn as a tree; how it is told
    metrics.py           what is counted in a worker; exposition.py adds up the workers
    tracing.py           traces, where wanted; with api/traced_dispatcher.py and storage/traced_coalescer.py
"""

__version__ = "0.1.0"
