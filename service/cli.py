"""The command line: `jay-tracking`, also `python -m service`. Parses, calls, prints; does nothing itself.

Exit status: 0 done, 1 it failed, 2 the command line or the configuration is wrong.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from service import __version__
from service.api_keys import Scope, demo_keys_in, hash_key, new_raw_key
from service.config import LoadedConfig, leaves, load
from service.errors import ConfigError, ServerError
from service.settings import Settings, check_key_name

FAILED = 1
MISCONFIGURED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        for mistake in error.mistakes:
            print(f"configuration: {mistake}", file=sys.stderr)
        return MISCONFIGURED
    except ServerError as error:
        print(f"jay-tracking: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jay-tracking", description="Tracking sessions: serve, check, make keys.")
    parser.add_argument("--version", action="version", version=f"jay-tracking {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        group: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, help_text: str
    ) -> argparse.ArgumentParser:
        return group.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")

    serve = add(commands, "serve", "run the service until SIGTERM or Ctrl-C")
    serve.set_defaults(command=_serve)
    check = add(commands, "check-config", "print the settings in force and where each came from, or every mistake")
    check.set_defaults(command=_check_config)
    health = add(commands, "healthcheck", "exit 0 when the service on this machine is ready, else 1")
    health.add_argument("--url", help="where it listens; from the configuration when left out")
    health.add_argument("--live", action="store_true", help="ask only whether the process runs, not for Redis")
    health.set_defaults(command=_healthcheck)
    for command in (serve, check, health):
        command.add_argument("--config", type=Path, metavar="FILE", help="instead of JAY_CONFIG or ./config.yaml")

    keys = add(commands, "keys", "make API keys").add_subparsers(required=True, metavar="COMMAND")
    new = add(keys, "new", "print a new API key, once, and the entry for config.yaml")
    name_help = "a name for logs; give a second key the same name to rotate; default: client"
    new.add_argument("name", nargs="?", default="client", type=_key_name, help=name_help)
    new.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="what it may do; repeatable; default: track",
    )
    new.set_defaults(command=_keys_new)
    return parser


def _key_name(text: str) -> str:
    if mistake := check_key_name(text):
        raise argparse.ArgumentTypeError(mistake)
    return text


def _load(options: argparse.Namespace) -> LoadedConfig:
    return load(os.environ, options.config)


def _serve(options: argparse.Namespace) -> int:
    from service.server import serve

    settings = _load(options).settings
    serve(settings, lambda: _load(options).settings, lambda url: _announce(url, settings))
    return 0


def _announce(url: str, settings: Settings) -> None:
    """In development, say all that one needs for a first try; keys only where they are published ones."""
    demo_keys = demo_keys_in(settings.api_keys)
    if settings.environment != "development" or not demo_keys:
        return
    redis = urlsplit(settings.redis.url)
    store = f"Redis at {redis.netloc.rpartition('@')[2] or redis.path}"
    if settings.redis.url == "embedded":
        store = f"the embedded Valkey, in {settings.redis.data_dir}/"
    lines = [f"Tracking sessions on {url}, kept in {store}", "", "API keys for development:"]
    lines += [f"  {raw:20} {', '.join(sorted(key.scopes))}" for raw, key in demo_keys.items()]
    track = next((raw for raw, key in demo_keys.items() if Scope.TRACK in key.scopes), None)
    if track:
        trust = f"--cacert {settings.server.tls.certificate} " if settings.server.tls.certificate else ""
        curl = f'curl -i {trust}-X POST {url}/v1/playouts/tracking/session -H "X-API-Key: {track}"'
        lines += ["", "Try:", f"  {curl}"]
    print("\n".join(lines), end="\n\n", flush=True)


def _check_config(options: argparse.Namespace) -> int:
    loaded = _load(options)
    rows = []
    for leaf in leaves():
        value: object = loaded.settings
        for part in leaf.name.split("."):
            value = getattr(value, part)
        rows.append(
            (leaf.name, _shown(leaf.name, value, is_secret=leaf.field.metadata["secret"]), loaded.origins[leaf.name])
        )
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, shown, origin in rows:
        print(f"{name:{widths[0]}}  {shown:{widths[1]}}  {origin}")
    return 0


def _shown(name: str, value: object, *, is_secret: bool) -> str:
    if name == "api_keys" and isinstance(value, tuple):
        return ", ".join(f"{key.name} ({'+'.join(sorted(key.scopes))})" for key in value) or "none: nobody may call"
    if name == "redis.url":
        return _without_password(str(value))
    if is_secret:
        return "(secret)"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc and not parts.query:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return parts._replace(
        netloc=f"{user}:***@{host}" if credentials else host, query="***" if parts.query else ""
    ).geturl()


def _healthcheck(options: argparse.Namespace) -> int:
    import http.client
    import ssl

    if options.url:
        url = options.url
    else:
        server = _load(options).settings.server
        url = server.url(server.port)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not re.fullmatch(r".+?(:\d+)?", parts.netloc):
        print("jay-tracking: --url must be like http://127.0.0.1:8080", file=sys.stderr)
        return MISCONFIGURED
    connection = http.client.HTTPConnection(parts.netloc, timeout=3)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False  # it asks itself, over the loopback; the certificate names the public host
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.netloc, timeout=3, context=context)
    try:
        connection.request("GET", "/livez" if options.live else "/readyz")
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(
            f"jay-tracking: no answer from {url} ({type(error).__name__}); is the service running?", file=sys.stderr
        )
        return FAILED
    print(answer)
    return 0 if response.status == http.client.OK else FAILED


def _keys_new(options: argparse.Namespace) -> int:
    raw_key = new_raw_key()
    scopes = sorted(set(options.scope or [Scope.TRACK.value]))
    entry = {"name": options.name, "sha256": hash_key(raw_key), "scopes": scopes}
    print(f"The key, shown this once:\n\n  {raw_key}\n\nIts entry for api_keys in config.yaml:\n")
    print(f"  - name: {entry['name']}\n    sha256: {entry['sha256']}\n    scopes: [{', '.join(scopes)}]")
    print(f"\nor as the environment variable:\n\n  JAY_API_KEYS='{json.dumps([entry])}'\n")
    print("The service reads config.yaml anew on SIGHUP; for the variable it has to be restarted.")
    return 0
