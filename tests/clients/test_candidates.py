"""The client reads the ids of a visitor's request like the service."""

from hypothesis import given
from hypothesis import strategies as st
from jay_tracking_client.candidates import candidates

from service.api.session_token import candidates_in

NAME = "__Secure-jay_tracking"
IDS = [f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "0123456789aB"]

# An HTTP server strips the white space around a line.
part = st.sampled_from([*IDS, NAME, f"{NAME}=", "=", ";", "; ", ",", " ", "\t", '"', "x", "null", "é"])
lines = st.lists(st.lists(part, max_size=12).map(lambda parts: "".join(parts).strip(" \t")), max_size=3)


@given(lines, lines, lines)
def test_the_client_finds_the_ids_that_the_service_finds(
    cookies: list[str], headers: list[str], aliases: list[str]
) -> None:
    """Both find the same ids in the same order in any lines."""
    assert candidates(cookies, headers, aliases) == list(candidates_in(cookies, [*headers, *aliases]))
