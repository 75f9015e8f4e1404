"""The dated versions of the API."""

LATEST = "2025-05-19"
SUPPORTED = (LATEST,)


def resolve(requested: str | None) -> str | None:
    """Return the version to answer with: the latest when none is asked for, None when it is unknown.

    Source: spec, "If not specified, the latest version is used".
    """
    wanted = (requested or "").strip()
    if not wanted:
        return LATEST
    return wanted if wanted in SUPPORTED else None
