import re

import pytest

from service.storage.script_files import NAMES, script_text


@pytest.mark.parametrize("name", [*NAMES, "repair", "self_test"])
def test_a_script_uses_no_unknown_constant(name: str) -> None:
    """Every name in capitals is a local of the script or was replaced by its value."""
    code = re.sub(r"--[^\n]*|'[^'\n]*'", "", script_text(name))
    locals_ = set(re.findall(r"[A-Z_]+", " ".join(re.findall(r"local ([A-Z_, ]+) =", code))))
    assert set(re.findall(r"\b[A-Z][A-Z_]+\b", code)) - locals_ <= {"KEYS", "ARGV"}


def test_constants_keep_their_type() -> None:
    """Numbers stay numbers, and strings are quoted."""
    assert "moment % 86400 / 3600" in script_text("end")
    assert "'INCRBY', 'u32', '#1', 1" in script_text("end")
