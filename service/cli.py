"""The command line: `jay-tracking`, also `python -m service`.

Each command imports its module of `commands/` only when it runs, so that every command
starts fast. The exit status is 0 for success, 1 for failure, 2 for an invalid command
line or configuration, and 130 after Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from service.api_keys import DEMO_OPERATOR_KEY, DEMO_TRACK_KEY, Scope, demo_keys_in
from service.commands import terminal
from service.commands.command_line import make_parser
from service.config.loading import KEY_VARIABLE, OPERATOR_KEY_VARIABLE, URL_VARIABLE, LoadedConfig, load
from service.errors import CommandError, ConfigError, ServerError
from service.telemetry.error_text import describe

if TYPE_CHECKING:
    from service.commands.api_client import ApiClient
    from service.config.settings import Settings

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    terminal.prepare()
    options = argparse.Namespace()
    try:
        try:
            options = make_parser().parse_args(arguments)
            return _COMMANDS[options.command](options)
        finally:
            sys.stdout.flush()  # raises here, not at exit, if the reader is gone
    except ConfigError as error:
        for sentence in error.errors:
            terminal.print_error(f"configuration: {sentence}")
        return MISCONFIGURED
    except (ServerError, CommandError) as error:
        terminal.print_error(f"jay-tracking: {error}")
        return FAILED
    except OSError as error:
        terminal.discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # readers like `head` end early
            terminal.print_error(f"jay-tracking: {describe(error)}")
        return FAILED
    except KeyboardInterrupt:
        return 0 if getattr(options, "watch", None) else INTERRUPTED


def _load(options: argparse.Namespace, *, reads_tls_files: bool = False) -> LoadedConfig:
    return load(os.environ, options.config, reads_tls_files=reads_tls_files)


def _serve(options: argparse.Namespace) -> int:
    from service.commands.banner import print_banner
    from service.telemetry import log_stream
    from service.telemetry.multiproc_dir import multiproc_dir

    log_stream.install()
    settings = _load(options, reads_tls_files=True).settings
    with multiproc_dir() if settings.metrics.enabled else nullcontext():
        from service.server.application import serve  # after multiproc_dir(), see there

        serve(settings, lambda: _load(options).settings, lambda url: print_banner(url, settings))
    return 0


def _check_config(options: argparse.Namespace) -> int:
    from service.commands import check_config

    if options.schema:
        check_config.show_schema()
        return 0
    check_config.show(_load(options, reads_tls_files=True))
    return 0


def _healthcheck(options: argparse.Namespace) -> int:
    from service.commands import health
    from service.commands.api_client import ApiClient

    url = options.url or _configured_url(_load(options).settings, given_by="--url")
    # The request goes to the loopback address. The certificate names the public host.
    client = ApiClient(url, given_by="--url", verify_tls=False, timeout=3)
    print(health.check(client, is_live=options.live))
    return 0


def _counts(options: argparse.Namespace) -> int:
    from service.commands import counts

    client = _client(options, DEMO_OPERATOR_KEY)
    count_options = counts.CountsOptions(options.start, options.end, options.interval, options.source, options.tz)
    if options.json:
        counts.print_json(client, count_options)
    elif options.csv:
        counts.print_csv(client, count_options)
    elif options.watch:
        counts.watch(client, count_options, options.watch)
    else:
        counts.show(client, count_options)
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
    client, operator = _client(options, DEMO_TRACK_KEY), _operator(options)
    return FAILED if doctor.examine(client, operator, settings, options.origin, repair=options.repair) else 0


def _demo(options: argparse.Namespace) -> int:
    from service.commands import demo

    demo.fill(_load(options).settings, _client(options, DEMO_OPERATOR_KEY), options.sessions)
    return 0


def _ref(options: argparse.Namespace) -> int:
    from service.commands import ref

    ref.show(_load(options).settings, options.session_id)
    return 0


def _torture(options: argparse.Namespace) -> int:
    from service.commands import torture

    client, operator = _client(options, DEMO_TRACK_KEY), _operator(options)
    torture_options = torture.TortureOptions(options.seconds, options.connections, options.rate)
    return 0 if torture.run(client, operator, torture_options) else FAILED


def _openapi(options: argparse.Namespace) -> int:
    from service.commands import openapi

    openapi.show(as_json=options.json)
    return 0


def _client(options: argparse.Namespace, demo_key: str) -> "ApiClient":
    """Return a client with URL and key of the options, variables or configuration."""
    from service.commands.api_client import ApiClient

    url, key = options.url or os.environ.get(URL_VARIABLE), (options.key or os.environ.get(KEY_VARIABLE, "")).strip()
    if not (url and key):
        settings = _load(options).settings
        url = url or _configured_url(settings, given_by=f"--url or in {URL_VARIABLE}")
        key = key or (demo_key if demo_key in demo_keys_in(settings.api_keys) else None)
    return ApiClient(url, key)


def _configured_url(settings: "Settings", *, given_by: str) -> str:
    """Return the URL of the service by its settings.

    Raises CommandError for port 0. `given_by` is where the user can give the URL
    instead.
    """
    server = settings.server
    if server.port == 0:
        raise CommandError(
            "server.port is 0, so the system chooses a port at each start. "
            f"Pass the URL that `serve` prints with {given_by}"
        )
    return server.url(server.port)


def _operator(options: argparse.Namespace) -> "ApiClient":
    """Return a client with the operator's key, or with the only key."""
    key = options.operator_key or os.environ.get(OPERATOR_KEY_VARIABLE, "").strip() or options.key
    return _client(argparse.Namespace(**{**vars(options), "key": key}), DEMO_OPERATOR_KEY)


def _keys_new(options: argparse.Namespace) -> int:
    from service.commands import keys

    keys.new(options.name, options.scope or [Scope.TRACK.value])
    return 0


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "check_config": _check_config,
    "healthcheck": _healthcheck,
    "counts": _counts,
    "users": _users,
    "doctor": _doctor,
    "demo": _demo,
    "ref": _ref,
    "torture": _torture,
    "openapi": _openapi,
    "keys_new": _keys_new,
}
