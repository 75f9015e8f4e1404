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
    """Every token that a page may set is accepted, in any case."""
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
def test_an_unusable_header_name_is_an_error(name: str) -> None:
    """The error names the entry that is no token, a wildcard or forbidden."""
    error = check_request_headers(["x-fine", name])
    assert error
    assert error.startswith("entry 2 must ")


def test_the_list_is_bounded() -> None:
    """The list has a maximum length, because every preflight response carries it."""
    assert check_request_headers(["x"] * (MAX_NAMES + 1)) == "must have at most 32 names"
