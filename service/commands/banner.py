"""What `serve` prints once it listens."""

from urllib.parse import urlsplit

from service.api import wire
from service.api_keys import Scope, demo_keys_in
from service.config.settings import Settings


def print_banner(url: str, settings: Settings) -> None:
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
    operator = next((raw for raw, key in demo_keys.items() if Scope.ANALYTICS in key.scopes), None)
    sign_in = f" (sign in with {operator})" if operator else ""
    lines += ["", f"Dashboard:      {url}{wire.DASHBOARD_PATH}{sign_in}", f"API reference:  {url}{wire.DOCS_PATH}"]
    print("\n".join(lines), end="\n\n", flush=True)
