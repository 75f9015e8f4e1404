import pytest

from service.config.request_headers import MAX_NAMES, check_request_headers


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["x-client-version"],
        ["X-Requested-By", "authorization"],
        ["x_underscore", "x.dot"],
        ["x" * 64],
        ["x"] * 32,
    ],
)
def test_names_that_a_page_can_set_are_accepted(names: list[str]) -> None:
    """In any case, with any character of a token."""
    assert check_request_headers(names) is None


@pytest.mark.parametrize(
    "name",
    [
        *("", "*", "x:y", "x y", "x,y", "x\r\ny", "ü", "x" * 65, "x*"),
        *(
            "Cookie",
            "Host",
            "origin",
            "Sec-GPC",
            "proxy-authorization",
            "content-length",
            "Access-Control-Request-Method",
        ),
    ],
)
def test_a_name_that_cannot_work_is_an_error(name: str) -> None:
    """Not a token, the wildcard, and what browsers never let a page set. The error says which entry it is."""
    error = check_request_headers(["x-fine", name])
    assert error
    assert error.startswith("entry 2 must ")


def test_the_list_is_bounded() -> None:
    """Every preflight's answer carries it."""
    assert check_request_headers(["x"] * (MAX_NAMES + 1)) == "must have at most 32 names"
