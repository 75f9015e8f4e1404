"""Commands that a Redis refuses to run for anybody, or for the service's user. Managed offerings take some away."""

from redis import exceptions


def is_refused(error: exceptions.ResponseError) -> bool:
    """Tell whether an error reply says that the command is not allowed, renamed or disabled."""
    return isinstance(error, exceptions.NoPermissionError) or str(error).lower().startswith("unknown command")
