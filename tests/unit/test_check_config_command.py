"""`check-config` on a terminal: how long rows continue."""

import pytest

from service.commands.check_config import _wrapped

URL = "redis://" + "x" * 40


@pytest.mark.parametrize(
    ("shown", "lines"),
    [
        ("a" * 10, ["name    aaaaaaaaaa  from a file"]),
        ("a" * 11, ["name    aaaaaaaaaaa", "        from a file"]),
        ("aaaa bbbb cccc dddd eeee", ["name    aaaa bbbb cccc dddd", "        eeee", "        from a file"]),
        (URL, ["name", f"  {URL}", "        from a file"]),
        (f"a {URL} b", ["name", "        a", f"  {URL}", "        b", "        from a file"]),
        ("", ["name      from a file"]),
    ],
)
def test_a_row_that_is_too_long_continues_below_its_name(shown: str, lines: list[str]) -> None:
    """Lines break between words, and each row begins with its name."""
    assert list(_wrapped(("name", shown, "from a file"), 8, 31)) == lines
