"""The environment variables of the service, as Compose, Docker and shells pass them."""

from collections.abc import Mapping

PREFIX = "JAY_"
REDIS_PASSWORD_VARIABLE = "JAY_REDIS_PASSWORD"  # noqa: S105 - a name

# Only docker-compose.yml and deploy/cluster/compose.yaml read these. They are in the
# same .env as the settings, so the service ignores them.
COMPOSE_VARIABLES = frozenset(
    {
        REDIS_PASSWORD_VARIABLE,
        "JAY_CADDY_IMAGE",
        "JAY_CONFIG_FOLDER",
        "JAY_EDGE_PORT",
        "JAY_GRAFANA_IMAGE",
        "JAY_GRAFANA_PASSWORD",
        "JAY_METRICS_KEY",
        "JAY_NGINX_IMAGE",
        "JAY_PROMETHEUS_IMAGE",
        "JAY_PYTHON_IMAGE",
        "JAY_REDIS_IMAGE",
        "JAY_REQUIREMENTS",
    }
)


def own_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the `JAY_` variables that are not empty, their values without quotes."""
    values = {name: _unquoted(value.strip()) for name, value in environ.items() if name.startswith(PREFIX)}
    return {name: value for name, value in values.items() if value}


def _unquoted(value: str) -> str:
    """Remove one pair of quotes.

    Shells and Compose remove quotes, but `docker run --env-file` does not.
    """
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and value[0] not in value[1:-1]:
        return value[1:-1]
    return value
