"""The `baggage` of forward-auth, read by independent parsers."""

import random
import re
from urllib.parse import quote, unquote, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from service.api import baggage
from service.api.baggage import MAX_BYTES, MAX_CHECKED, MAX_ENTRIES, merged

REF = "0123456789abcdef" * 2
FORGED = "f" * 32
NAME = "session.id"
SPACES = (
    "",
    "",
    "",
    " ",
    "\t",
    " \t ",
    "+",
    "%20",
    "%09",
    "%00",
    "%0A",
    "%C2%A0",
    "%EF%BB%BF",
    "%E2%80%8B",
    "\u00a0",
)
# From the grammar of W3C Baggage, written down a second time.
TOKEN = r"[!#$%&\'*+\-.^_`|~0-9A-Za-z]+"
VALUE = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
ENTRY = re.compile(rf"{TOKEN}[ \t]*=[ \t]*{VALUE}([ \t]*;[ \t]*{TOKEN}([ \t]*=[ \t]*{VALUE})?)*")


def names_read(header: str) -> list[str]:
    """Return the names that programs may read, by several rules of decoding."""
    names = []
    for entry in header.split(","):
        name = entry.partition("=")[0]
        decoded = [
            decode(name, errors=errors) for decode in (unquote, unquote_plus) for errors in ("ignore", "replace")
        ]
        names += [one.strip().strip("\x00\ufeff\u200b ").strip() for one in (name, *decoded)]
    return names


def spelled(chance: random.Random, name: str) -> str:
    """Return a name with some characters escaped and white space around it."""
    escaped = "".join(
        chance.choice((f"%{ord(one):02X}", f"%{ord(one):02x}")) if chance.random() < 0.2 else one for one in name
    )
    return chance.choice(SPACES) + chance.choice(SPACES) + escaped + chance.choice(SPACES) + chance.choice(SPACES)


def forgery(chance: random.Random) -> list[str]:
    """Return lines of a header with at least one forged session id."""
    entries = [
        chance.choice(
            ("a=1", "", " ", "b = 2 ; c", '"=x', "=", "ü=1", "d", "e=1;session.id=x", f"k{chance.random()}=v")
        )
        for _ in range(chance.randint(0, 5))
    ]
    for _ in range(chance.randint(1, 3)):
        name = spelled(chance, chance.choice((NAME, NAME, NAME, "Session.ID", quote(NAME), "session%2eid")))
        value = chance.choice((FORGED, quote(FORGED), f" {FORGED} ", f"{FORGED};p=1", f'"{FORGED}"', f"{FORGED}; p"))
        entries.insert(chance.randint(0, len(entries)), name + chance.choice(("=", " = ", "\t=", "=")) + value)
    cut = chance.randint(0, len(entries))
    return [",".join(entries[:cut]), ",".join(entries[cut:])]


@pytest.mark.parametrize("ref", [REF, None])
def test_no_forgery_wins(ref: str | None) -> None:
    """In 10,000 headers with forged session ids, no program reads a forged one."""
    chance = random.Random(2026)
    propagator = W3CBaggagePropagator()
    dropped = 0
    for _ in range(10_000):
        lines = forgery(chance)
        header = merged(lines, ref)
        others = header.removeprefix(f"session.id={ref}") if ref else header
        assert NAME not in names_read(others), (lines, header)
        read = get_all(propagator.extract({"baggage": header}, Context())) if header else {}
        assert read.get(NAME) == ref, (lines, header)
        theirs = get_all(propagator.extract({"baggage": ",".join(lines)}, Context()))
        dropped += theirs.get(NAME) not in (None, ref)
    assert dropped > 2000  # the forgeries are good ones


@given(st.lists(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")), max_size=4))
def test_every_entry_of_the_result_is_valid_and_from_the_request(lines: list[str]) -> None:
    """The result keeps valid entries in their order, and no others."""
    given_entries = [entry.strip(" \t") for line in lines for entry in line.split(",")]
    expected = [entry for entry in given_entries if ENTRY.fullmatch(entry) and NAME not in names_read(entry.lower())]
    assert merged(lines, None) == ",".join(expected)


entries = st.tuples(
    st.from_regex(r"[a-z%+!]{1,9}", fullmatch=True), st.from_regex(r"[!#-+\--:<-\[\]-~]{0,9}", fullmatch=True)
).map("=".join)


@given(st.lists(entries, max_size=300), st.booleans())
def test_the_limits_hold(given_entries: list[str], is_live: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
    """The result has at most 180 entries and 8,192 bytes, with the session id first."""
    header = merged([",".join(given_entries)], REF if is_live else None)
    kept = header.split(",") if header else []
    assert len(kept) <= MAX_ENTRIES
    assert len(header) <= MAX_BYTES
    assert header.startswith(f"session.id={REF}") == is_live
    assert kept[is_live:] == [one for one in given_entries if NAME not in names_read(one)][: MAX_ENTRIES - is_live]


def test_a_entry_that_does_not_fit_is_left_out() -> None:
    """An entry over the limit of bytes is left out, and shorter ones behind it stay."""
    longest = f"k={'v' * (MAX_BYTES - 2 - len(f'session.id={REF},'))}"
    assert merged([longest], REF) == f"session.id={REF},{longest}"
    assert merged([f"{longest}v,a=1"], REF) == f"session.id={REF},a=1"
    assert merged([f"a=1,{longest},b=2"], REF) == f"session.id={REF},a=1,b=2"


def test_a_long_header_takes_linear_time() -> None:
    """Headers that are hard for regular expressions take no longer than others."""
    for start, repeated, end in (
        ("a=1", " ", "x"),
        ("a=1;b", " ", "="),
        ("a=", ";a", '"'),
        ("a", "%25", "=x"),
        ("", ",", ""),
    ):
        merged([start + repeated * 4000 + end] * 200, REF)


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few entries are checked, however many a request has and however they are."""
    checked: list[str] = []
    is_session_id = baggage._is_session_id

    def counted(name: str) -> bool:
        checked.append(name)
        return is_session_id(name)

    monkeypatch.setattr(baggage, "_is_session_id", counted)
    for entry, most in (("%73=b", MAX_ENTRIES), (NAME + "=b", MAX_CHECKED), ("=", 0)):
        checked.clear()
        merged([",".join([entry] * 1300)] * 60, None)
        assert len(checked) <= most
    assert merged([",".join(["="] * (MAX_CHECKED - 1) + ["a=1", "b=2"])], None) == "a=1"


def test_the_limits_are_those_of_the_contract() -> None:
    """A value has at most 8,192 bytes and 180 entries."""
    longest = "a=" + "x" * 8190
    assert merged([longest], None) == longest
    assert merged([longest + "x"], None) == ""
    assert merged([",".join(["a=1"] * 181)], None) == ",".join(["a=1"] * 180)
    assert merged(["Session.ID=1,SESSION.ID=2,a=1"], None) == "a=1"
