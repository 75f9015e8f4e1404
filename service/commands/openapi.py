"""`jay-tracking openapi`: prints the API reference."""

from service.api.handlers.openapi import openapi_json, openapi_yaml


def show(*, as_json: bool) -> None:
    """Print the document as YAML or as JSON."""
    print(openapi_json().decode() if as_json else openapi_yaml().rstrip("\n"))
