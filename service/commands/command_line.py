"""The commands and options of the command line. It parses only: `cli.py` runs the commands."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from service import __version__
from service.api_keys import Scope
from service.commands import argument_types

Group: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no other


def make_parser() -> argparse.ArgumentParser:
    """Return the parser. Its namespaces have the name of the command's function in `command`."""
    description = "Tracking sessions: serve, check, count, look after users' rights, make keys."
    parser = argparse.ArgumentParser(prog="jay-tracking", description=description)
    parser.add_argument("--version", action="version", version=f"jay-tracking {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _add(commands, "serve", "run the service until SIGTERM or Ctrl-C", "serve")
    check_help = "print the settings in force and where each came from, or every error"
    check = _add(commands, "check-config", check_help, "check_config")
    check.add_argument("--schema", action="store_true", help="print the JSON Schema of config.yaml instead")
    health = _add(commands, "healthcheck", "exit 0 when the service on this machine is ready, else 1", "healthcheck")
    health.add_argument("--url", help="where it listens; from the configuration when left out")
    health.add_argument("--live", action="store_true", help="ask only whether the process runs, not for Redis")
    clients = [_add_counts(commands), *_add_users(commands), _add_doctor(commands), _add_demo(commands)]
    for command in clients:
        command.add_argument("--url", help="of the service; default: JAY_URL, else as the configuration says")
        command.add_argument("--key", help="API key; better in JAY_KEY, as others may see this command line")
    for command in (serve, check, health, *clients):
        command.add_argument("--config", type=Path, metavar="FILE", help="instead of JAY_CONFIG or ./config.yaml")

    openapi = _add(commands, "openapi", "print the API reference, an OpenAPI document", "openapi")
    openapi.add_argument("--json", action="store_true", help="as JSON instead of YAML")

    keys = _group(commands, "keys", "make API keys")
    new = _add(keys, "new", "print a new API key, once, and the entry for config.yaml", "keys_new")
    name_help = "a name for logs; give a second key the same name to rotate; default: client"
    new.add_argument("name", nargs="?", default="client", type=argument_types.key_name, help=name_help)
    scopes = [scope.value for scope in Scope]
    scope_help = f"what it may do: {', '.join(scopes)}; repeatable; default: track"
    new.add_argument("--scope", action="append", choices=scopes, metavar="SCOPE", help=scope_help)
    return parser


def _add_counts(commands: Group) -> argparse.ArgumentParser:
    counts = _add(commands, "counts", "print how many sessions there are and were, by source", "counts")
    when = "a time in UTC like 2026-01-31T18:00:00Z, a date for its whole day, or 24h or 7d for so long ago"
    counts.add_argument("--from", dest="start", metavar="TIME", help=f"{when}; default: 24h")
    counts.add_argument("--to", dest="end", metavar="TIME", help="the same, a date included; default: now")
    counts.add_argument("--interval", choices=("hour", "day"), help="step of the series; default: by the range")
    counts.add_argument("--source", type=argument_types.utf8, help="only this source")
    form = counts.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the whole answer of the API")
    form.add_argument("--csv", action="store_true", help="the series: start, source, created, ended")
    watch_help, seconds = "renew the table until Ctrl-C", argument_types.seconds
    form.add_argument("--watch", type=seconds, nargs="?", const=2.0, metavar="SECONDS", help=watch_help)
    return counts


def _add_users(commands: Group) -> Sequence[argparse.ArgumentParser]:
    users = _group(commands, "users", "show, export and erase what is kept of a user", dest="action")
    show = _add(users, "show", "print how many sessions a user has", "users")
    export = _add(users, "export", "print a user's live sessions as JSON", "users")
    erase = _add(users, "erase", "end a user's sessions and forget the id, after a question", "users")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    for command in (show, export, erase):
        command.add_argument("user_id", metavar="USER_ID", type=argument_types.utf8)
    return show, export, erase


def _add_doctor(commands: Group) -> argparse.ArgumentParser:
    doctor = _add(commands, "doctor", "look at a running deployment and say what to do; exit 1 on problems", "doctor")
    doctor.add_argument(
        "--origin",
        type=argument_types.origin,
        help="see too whether pages of this origin may call, like https://www.example.com",
    )
    of_redis = doctor.add_mutually_exclusive_group()
    of_redis.add_argument("--repair", action="store_true", help="repair users' indexes")
    of_redis.add_argument(
        "--no-redis", action="store_true", help="look only at requests, from a machine without Redis"
    )
    return doctor


def _add_demo(commands: Group) -> argparse.ArgumentParser:
    demo_help = "fill a development service that has no sessions with a made-up week of them"
    demo = _add(commands, "demo", demo_help, "demo")
    size, size_help = argument_types.demo_size, "about how many; default: 50000"
    demo.add_argument("--sessions", type=size, default=50_000, help=size_help)
    return demo


def _group(commands: Group, name: str, help_text: str, dest: str = argparse.SUPPRESS) -> Group:
    return commands.add_parser(name, help=help_text).add_subparsers(required=True, metavar="COMMAND", dest=dest)


def _add(commands: Group, name: str, help_text: str, command: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    parser.set_defaults(command=command)
    return parser
