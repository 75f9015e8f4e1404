"""The banner that `serve` prints in development when the service answers requests."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from service.api import wire
from service.api_keys import ApiKey, Scope, demo_keys_in
from service.config.settings import Settings


def print_banner(url: str, settings: Settings) -> None:
    """Print the URL, the demo keys and a first command.

    Only published keys are printed.
    """
    demo_keys = demo_keys_in(settings.api_keys)
    if settings.environment == "development" and demo_keys:
        print("\n".join(_lines(url, settings, demo_keys)), end="\n\n", flush=True)


def _lines(url: str, settings: Settings, demo_keys: Mapping[str, ApiKey]) -> Iterator[str]:
    yield f"Serving on {url}, with sessions in {_store(settings)}"
    yield from ("", "API keys for development:")
    yield from (f"  {raw_key:20} {', '.join(sorted(key.scopes))}" for raw_key, key in demo_keys.items())
    if raw_key := _key_with(Scope.TRACK, demo_keys):
        trust = f"--cacert {settings.server.tls.certificate} " if settings.server.tls.certificate else ""
        yield from ("", "Try:")
        yield f'  curl -i {trust}-X POST {url}/v1/playouts/tracking/session -H "X-API-Key: {raw_key}"'
    operator_key = _key_with(Scope.ANALYTICS, demo_keys)
    sign_in = f" (sign in with {operator_key})" if operator_key else ""
    yield from ("", f"Dashboard:      {url}{wire.DASHBOARD_PATH}{sign_in}")
    yield f"API reference:  {url}{wire.DOCS_PATH}"


def _store(settings: Settings) -> str:
    if settings.redis.url == "embedded":
        return f"the embedded Valkey ({settings.redis.data_dir}/)"
    redis = urlsplit(settings.redis.url)
    return f"Redis at {redis.netloc.rpartition('@')[2] or redis.path}"


def _key_with(scope: Scope, demo_keys: Mapping[str, ApiKey]) -> str | None:
    return next((raw_key for raw_key, key in demo_keys.items() if scope in key.scopes), None)
