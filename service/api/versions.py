"""The dated versions of the API."""

LATEST = "2025-05-19"
SUPPORTED = (LATEST,)


def resolve(requested: str | None) -> str | None:
    """Return the version of the answer, or None if the requested one is unknown.

    Source: spec, "If not specified, the latest version is used".
    """
    name = (requested or "").strip(" \t")
    if not name:
        return LATEST
    return name if name in SUPPORTED else None
