"""Every parser of the service, with inputs that hypothesis makes.

`make attacks` makes more of them, and runs `tests/attacks/fuzzing/coverage_guided.py`.
"""

import os
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.fuzzing.corpus import REQUESTS, SETTINGS, Parser, parsers_with, resources

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
NAMES = (*REQUESTS, *SETTINGS, "session value", "config.yaml")


@pytest.fixture(scope="module")
def parsers() -> Iterator[Mapping[str, Parser]]:
    """All parsers by name."""
    with resources() as (redis_url, folder):
        yield parsers_with(redis_url, folder)


def test_no_parser_is_left_out(parsers: Mapping[str, Parser]) -> None:
    """The test below runs for every parser."""
    assert set(NAMES) == set(parsers)


def inputs(parser: Parser) -> st.SearchStrategy[bytes]:
    """Inputs of words, of any bytes, and examples in which bytes are changed."""
    pieces = st.sampled_from(parser.words) | st.binary(max_size=3)
    changed = st.tuples(st.sampled_from(parser.examples), st.integers(0, 200), st.integers(0, 4), pieces).map(
        lambda drawn: drawn[0][: drawn[1]] + drawn[3] + drawn[0][drawn[1] + drawn[2] :]
    )
    return st.lists(pieces, max_size=25).map(b"".join) | changed | st.binary(max_size=200)


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_a_value_or_an_error(parsers: Mapping[str, Parser], name: str) -> None:
    """A parser returns a value that keeps its promises, or raises its own error."""
    parser = parsers[name]
    for example in parser.examples:
        parser.check(example)

    @settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck], print_blob=True)
    @given(inputs(parser))
    def check(data: bytes) -> None:
        parser.check(data)

    check()
