"""The command line: `jay-tracking`, also `python -m service`. Parses, calls, prints; does nothing itself.

Exit status: 0 done, 1 it failed, 2 the command line or the configuration is wrong.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from service import __version__, terminal
from service.api_keys import DEMO_OPERATOR_KEY, DEMO_TRACK_KEY, Scope, demo_keys_in
from service.commands import argument_types
from service.config import KEY_VARIABLE, URL_VARIABLE, LoadedConfig, load
from service.error_text import describe
from service.errors import CommandError, ConfigError, ServerError

if TYPE_CHECKING:
    from service.commands.api_client import ApiClient

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130

Command = Callable[[argparse.Namespace], int]
Group: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no other


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    terminal.prepare()
    options = argparse.Namespace()
    try:
        try:
            options = _parser().parse_args(arguments)
            command: Command = options.command
            return command(options)
        finally:
            sys.stdout.flush()  # find out here, not when the interpreter ends, that nobody reads any more
    except ConfigError as error:
        for mistake in error.mistakes:
            terminal.complain(f"configuration: {mistake}")
        return MISCONFIGURED
    except (ServerError, CommandError) as error:
        terminal.complain(f"jay-tracking: {error}")
        return FAILED
    except OSError as error:
        terminal.discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # else a reader has had enough, such as `head`
            terminal.complain(f"jay-tracking: {describe(error)}")
        return FAILED
    except KeyboardInterrupt:
        return 0 if getattr(options, "watch", None) else INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    description = "Tracking sessions: serve, check, count, look after users' rights, make keys."
    parser = argparse.ArgumentParser(prog="jay-tracking", description=description)
    parser.add_argument("--version", action="version", version=f"jay-tracking {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _add(commands, "serve", "run the service until SIGTERM or Ctrl-C", _serve)
    check_help = "print the settings in force and where each came from, or every mistake"
    check = _add(commands, "check-config", check_help, _check_config)
    health = _add(commands, "healthcheck", "exit 0 when the service on this machine is ready, else 1", _healthcheck)
    health.add_argument("--url", help="where it listens; from the configuration when left out")
    health.add_argument("--live", action="store_true", help="ask only whether the process runs, not for Redis")
    clients = [_add_counts(commands), *_add_users(commands), _add_doctor(commands), _add_demo(commands)]
    for command in clients:
        command.add_argument("--url", help="of the service; default: JAY_URL, else as the configuration says")
        command.add_argument("--key", help="API key; better in JAY_KEY, as others may see this command line")
    for command in (serve, check, health, *clients):
        command.add_argument("--config", type=Path, metavar="FILE", help="instead of JAY_CONFIG or ./config.yaml")

    openapi = _add(commands, "openapi", "print the API reference, an OpenAPI document", _openapi)
    openapi.add_argument("--json", action="store_true", help="as JSON instead of YAML")

    keys = _group(commands, "keys", "make API keys")
    new = _add(keys, "new", "print a new API key, once, and the entry for config.yaml", _keys_new)
    name_help = "a name for logs; give a second key the same name to rotate; default: client"
    new.add_argument("name", nargs="?", default="client", type=argument_types.key_name, help=name_help)
    scopes = [scope.value for scope in Scope]
    scope_help = f"what it may do: {', '.join(scopes)}; repeatable; default: track"
    new.add_argument("--scope", action="append", choices=scopes, metavar="SCOPE", help=scope_help)
    return parser


def _add_counts(commands: Group) -> argparse.ArgumentParser:
    counts = _add(commands, "counts", "print how many sessions there are and were, by source", _counts)
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
    show = _add(users, "show", "print how many sessions a user has", _users)
    export = _add(users, "export", "print a user's live sessions as JSON", _users)
    erase = _add(users, "erase", "end a user's sessions and forget the id, after a question", _users)
    erase.add_argument("--yes", action="store_true", help="do not ask")
    for command in (show, export, erase):
        command.add_argument("user_id", metavar="USER_ID", type=argument_types.utf8)
    return show, export, erase


def _add_doctor(commands: Group) -> argparse.ArgumentParser:
    doctor = _add(commands, "doctor", "look at a running deployment and say what to do; exit 1 on problems", _doctor)
    doctor.add_argument(
        "--origin", help="see too whether pages of this origin may call, like https://www.example.com"
    )
    of_redis = doctor.add_mutually_exclusive_group()
    of_redis.add_argument("--repair", action="store_true", help="mend users' indexes")
    of_redis.add_argument(
        "--no-redis", action="store_true", help="look only at requests, from a machine without Redis"
    )
    return doctor


def _add_demo(commands: Group) -> argparse.ArgumentParser:
    demo_help = "fill a development service that has no sessions with a made-up week of them"
    demo = _add(commands, "demo", demo_help, _demo)
    size, size_help = argument_types.demo_size, "about how many; default: 50000"
    demo.add_argument("--sessions", type=size, default=50_000, help=size_help)
    return demo


def _group(commands: Group, name: str, help_text: str, dest: str = argparse.SUPPRESS) -> Group:
    return commands.add_parser(name, help=help_text).add_subparsers(required=True, metavar="COMMAND", dest=dest)


def _add(commands: Group, name: str, help_text: str, command: Command) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    parser.set_defaults(command=command)
    return parser


def _load(options: argparse.Namespace, *, reads_tls_files: bool = False) -> LoadedConfig:
    return load(os.environ, options.config, reads_tls_files=reads_tls_files)


def _serve(options: argparse.Namespace) -> int:
    from service import log_stream
    from service.commands.greeting import greet
    from service.metrics_folder import metrics_folder

    log_stream.install()
    settings = _load(options, reads_tls_files=True).settings
    with metrics_folder() if settings.metrics.enabled else nullcontext():
        from service.server import serve  # only now: see metrics_folder.py

        serve(settings, lambda: _load(options).settings, lambda url: greet(url, settings))
    return 0


def _check_config(options: argparse.Namespace) -> int:
    from service.commands import check_config

    check_config.show(_load(options, reads_tls_files=True))
    return 0


def _healthcheck(options: argparse.Namespace) -> int:
    from service.commands import health
    from service.commands.api_client import ApiClient

    server = None if options.url else _load(options).settings.server
    # It asks itself, over the loopback; the certificate names the public host.
    client = ApiClient(server.url(server.port) if server else options.url, verify_tls=False, timeout=3)
    print(health.check(client, is_live=options.live))
    return 0


def _counts(options: argparse.Namespace) -> int:
    from service.commands import counts

    client = _client(options, DEMO_OPERATOR_KEY)
    asked = counts.CountsOptions(options.start, options.end, options.interval, options.source)
    if options.json:
        counts.print_json(client, asked)
    elif options.csv:
        counts.print_csv(client, asked)
    elif options.watch:
        counts.watch(client, asked, options.watch)
    else:
        counts.show(client, asked)
    return 0


def _users(options: argparse.Namespace) -> int:
    from service.commands import users

    client = _client(options, DEMO_OPERATOR_KEY)
    if options.action == "show":
        users.show(client, options.user_id)
    elif options.action == "export":
        users.export(client, options.user_id)
    else:
        users.erase(client, options.user_id, is_sure=options.yes)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from service.commands import doctor

    settings = None if options.no_redis else _load(options).settings
    client = _client(options, DEMO_TRACK_KEY)
    return FAILED if doctor.examine(client, settings, options.origin, repair=options.repair) else 0


def _demo(options: argparse.Namespace) -> int:
    from service.commands import demo

    demo.fill(_load(options).settings, _client(options, DEMO_OPERATOR_KEY), options.sessions)
    return 0


def _openapi(options: argparse.Namespace) -> int:
    from service.commands import openapi

    openapi.show(as_json=options.json)
    return 0


def _client(options: argparse.Namespace, demo_key: str) -> "ApiClient":
    """Return a client of the service that the options, the environment or the configuration name."""
    from service.commands.api_client import ApiClient

    url, key = options.url or os.environ.get(URL_VARIABLE), (options.key or os.environ.get(KEY_VARIABLE, "")).strip()
    if not (url and key):
        settings = _load(options).settings
        url = url or settings.server.url(settings.server.port)
        key = key or (demo_key if demo_key in demo_keys_in(settings.api_keys) else None)
    return ApiClient(url, key)


def _keys_new(options: argparse.Namespace) -> int:
    from service.commands import keys

    keys.new(options.name, options.scope or [Scope.TRACK.value])
    return 0
