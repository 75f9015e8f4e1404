"""The files of deploy/forward-auth with the addresses of a test."""

from pathlib import Path

RECIPES = Path(__file__).parents[2] / "deploy" / "forward-auth"
PROXY_KEY = "a-key-of-a-proxy"


def replaced(name: str, pairs: dict[str, str]) -> str:
    """Return a file in which each key of `pairs` is replaced by its value."""
    text = (RECIPES / name).read_text("utf-8")
    for shipped, ours in pairs.items():
        assert shipped in text, shipped
        text = text.replace(shipped, ours)
    return text
