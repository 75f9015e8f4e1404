"""`jay-tracking openapi`: the API reference, for tools that read it."""

from service.api.handlers.openapi import openapi_json, openapi_yaml


def show(*, as_json: bool) -> None:
    """Print the document as it is written, or as JSON."""
    print(openapi_json().decode() if as_json else openapi_yaml().rstrip("\n"))
