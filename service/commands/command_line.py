"""The commands and options of the command line. `cli.py` runs the commands."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from service import __version__
from service.api_keys import Scope
from service.commands import argument_types
from service.time_zones import UTC_ZONE

Group: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no other


def make_parser() -> argparse.ArgumentParser:
    """Return the parser.

    It sets `command` to the key of the command in `_COMMANDS` of `cli.py`.
    """
    description = "Run and operate the tracking-session service."
    parser = argparse.ArgumentParser(prog="jay-tracking", description=description)
    parser.add_argument("--version", action="version", version=f"jay-tracking {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _add(commands, "serve", "run the service until SIGTERM or Ctrl-C", "serve")
    check_help = "print every setting, its value and where it came from, or every error"
    check = _add(commands, "check-config", check_help, "check_config")
    check.add_argument("--schema", action="store_true", help="print the JSON Schema of config.yaml instead")
    health = _add(
        commands,
        "healthcheck",
        "exit with status 0 if the service on this machine is ready, 1 if not, or 2 if the configuration is invalid",
        "healthcheck",
    )
    health.add_argument("--url", help="URL of the service (default: from the configuration)")
    health.add_argument("--live", action="store_true", help="check only that the process runs, not Redis")
    clients = _add_clients(commands)
    ref = _add(commands, "ref", "print the ref of a session, which logs and traces have in place of the id", "ref")
    ref.add_argument("session_id", metavar="ID", type=argument_types.session_id, help="id of the session")
    for command in (serve, check, health, ref, *clients):
        command.add_argument(
            "--config", type=Path, metavar="FILE", help="configuration file (default: JAY_CONFIG, then ./config.yaml)"
        )

    openapi = _add(commands, "openapi", "print the API reference as an OpenAPI document", "openapi")
    openapi.add_argument("--json", action="store_true", help="print JSON instead of YAML")

    _add_keys(commands)
    return parser


def _add_clients(commands: Group) -> Sequence[argparse.ArgumentParser]:
    """Add the commands that call the service with an API key."""
    clients = [_add_counts(commands), *_add_users(commands)]
    clients += [_add_doctor(commands), _add_demo(commands), _add_torture(commands)]
    key_help = (
        "API key (default: JAY_KEY, then a demo key). Prefer JAY_KEY, because other users of this machine can see "
        "the value of --key in the process list"
    )
    for command in clients:
        command.add_argument("--url", help="URL of the service (default: JAY_URL, then the configuration)")
        command.add_argument("--key", help=key_help)
    return clients


def _add_keys(commands: Group) -> None:
    keys = _group(commands, "keys", "make API keys")
    new = _add(keys, "new", "print a new API key and its entry for config.yaml", "keys_new")
    name_help = "name of the key in logs. For a rotation, use the name of the old key (default: client)"
    new.add_argument("name", nargs="?", default="client", type=argument_types.key_name, help=name_help)
    scopes = [scope.value for scope in Scope]
    scope_help = f"scope of the key, one of {', '.join(scopes)}. May be repeated (default: track)"
    new.add_argument("--scope", action="append", choices=scopes, metavar="SCOPE", help=scope_help)


def _add_counts(commands: Group) -> argparse.ArgumentParser:
    counts = _add(commands, "counts", "print active, created, ended and expired sessions by source", "counts")
    when = "a UTC time like 2026-01-31T18:00:00Z, a date like 2026-01-31, or an age like 24h or 7d"
    start_help = f"start, rounded down to a whole hour or day: {when} (default: 24h)"
    counts.add_argument("--from", dest="start", metavar="TIME", type=argument_types.time, help=start_help)
    counts.add_argument(
        "--to",
        dest="end",
        metavar="TIME",
        type=argument_types.time,
        help="end, in the same forms. A date includes its whole day (default: now)",
    )
    counts.add_argument(
        "--interval", choices=("hour", "day"), help="step of the series (default: depends on the length of the range)"
    )
    zone_help = "time zone of dates and days, such as Europe/Berlin (default: UTC)"
    counts.add_argument("--tz", type=argument_types.time_zone, default=UTC_ZONE, metavar="ZONE", help=zone_help)
    counts.add_argument("--source", type=argument_types.utf8, help="show only this source")
    form = counts.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the whole answer of the API as JSON")
    form.add_argument("--csv", action="store_true", help="print the series as CSV")
    watch_help, seconds = "refresh the table until Ctrl-C (default: every 2 seconds)", argument_types.seconds
    form.add_argument("--watch", type=seconds, nargs="?", const=2.0, metavar="SECONDS", help=watch_help)
    return counts


def _add_users(commands: Group) -> Sequence[argparse.ArgumentParser]:
    users = _group(commands, "users", "show, export or erase the data of a user", dest="action")
    show = _add(users, "show", "print the number of a user's sessions", "users")
    export = _add(users, "export", "print a user's live sessions as JSON", "users")
    erase = _add(users, "erase", "end a user's sessions and remove the user id, after confirmation", "users")
    erase.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    for command in (show, export, erase):
        command.add_argument("user_id", metavar="USER_ID", type=argument_types.utf8, help="id of the user")
    return show, export, erase


def _add_doctor(commands: Group) -> argparse.ArgumentParser:
    doctor = _add(
        commands,
        "doctor",
        "check a running deployment and print advice. Exit with status 1 if there is a problem",
        "doctor",
    )
    doctor.add_argument(
        "--origin",
        type=argument_types.origin,
        help="also check that pages of this origin may call the API, such as https://www.example.com",
    )
    of_redis = doctor.add_mutually_exclusive_group()
    of_redis.add_argument("--repair", action="store_true", help="repair the indexes of users' sessions")
    of_redis.add_argument(
        "--no-redis", action="store_true", help="skip the checks of Redis, for a machine that cannot reach it"
    )
    _add_operator_key(doctor)
    return doctor


def _add_demo(commands: Group) -> argparse.ArgumentParser:
    demo_help = "fill an empty development service with a generated week of sessions"
    demo = _add(commands, "demo", demo_help, "demo")
    size_help = "approximate number of sessions, from 1000 to 1000000 (default: 50000)"
    demo.add_argument("--sessions", type=argument_types.whole(1000, 1_000_000), default=50_000, help=size_help)
    return demo


def _add_torture(commands: Group) -> argparse.ArgumentParser:
    torture_help = "send load while you break servers, then check that no acknowledged session is lost"
    torture = _add(commands, "torture", torture_help, "torture")
    for name, default, most, meaning in (
        ("seconds", 30, 3600, "duration of the load"),
        ("connections", 16, 256, "requests in progress"),
        ("rate", 200, 1000, "requests in a second at most"),
    ):
        torture.add_argument(
            f"--{name}",
            type=argument_types.whole(1, most),
            default=default,
            metavar="N",
            help=f"{meaning}, from 1 to {most} (default: {default})",
        )
    _add_operator_key(torture)
    return torture


def _add_operator_key(command: argparse.ArgumentParser) -> None:
    key_help = "API key that may read counts (default: JAY_OPERATOR_KEY, then the other key, then a demo key)"
    command.add_argument("--operator-key", help=key_help)


def _group(commands: Group, name: str, help_text: str, dest: str = argparse.SUPPRESS) -> Group:
    group = commands.add_parser(name, help=help_text, description=_sentence(help_text))
    return group.add_subparsers(title="commands", required=True, metavar="COMMAND", dest=dest)


def _add(commands: Group, name: str, help_text: str, command: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=_sentence(help_text))
    parser.set_defaults(command=command)
    return parser


def _sentence(help_text: str) -> str:
    return f"{help_text[0].upper()}{help_text[1:]}."
