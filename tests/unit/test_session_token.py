from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from service.api.session_token import MAX_CANDIDATES, SessionCookie, candidates
from service.config.settings import CookieSettings

A = "aaaaaaaa-0000-4000-8000-000000000001"
B = "bbbbbbbb-0000-4000-8000-000000000002"
C = "cccccccc-0000-4000-8000-000000000003"
NAME = "__Secure-jay_tracking"


def presented(*headers: tuple[str, str]) -> tuple[str, ...]:
    return candidates(CIMultiDictProxy(CIMultiDict(headers)))


def test_order_is_cookies_then_header_then_alias() -> None:
    """Ids come from the cookies in their order, then the header, then its alias."""
    assert presented(
        ("X-Jay-Tracking", "dddddddd-0000-4000-8000-000000000004"),
        (NAME, C),
        ("Cookie", f"other=1; {NAME}={B}; {NAME}={A}"),
        ("Cookie", f"{NAME}=eeeeeeee-0000-4000-8000-000000000005"),
    ) == (
        B,
        A,
        "eeeeeeee-0000-4000-8000-000000000005",
        C,
        "dddddddd-0000-4000-8000-000000000004",
    )


def test_only_the_exact_name_counts() -> None:
    """Only the cookie with the exact name is read."""
    for pair in (
        f"__secure-jay_tracking={A}",
        f"x{NAME}={A}",
        f"{NAME}x={A}",
        f"={NAME}={A}",
        f"x={NAME}={A}",
        f'x="; {NAME}={A}"junk',
        f"{NAME} {A}",
    ):
        assert presented(("Cookie", pair)) == (), pair


def test_white_space_and_quotes_around_a_cookie_value_are_removed() -> None:
    """White space and quotes around a cookie value are ignored."""
    for pair in (
        f" {NAME}={A} ",
        f"a=b;{NAME}={A};c=d",
        f"a=b;\t{NAME}\t= {A}\t;c=d",
        f'{NAME}="{A}"',
        f"{NAME}={A.upper()}",
    ):
        assert presented(("Cookie", pair)) == (A,), pair


def test_a_value_that_is_not_an_id_is_skipped() -> None:
    """Invalid values are skipped, and the ids after them are read."""
    garbage = "; ".join(f"{NAME}={value}" for value in ("null", "undefined", "", "*" * 2000, "\udcff\udcfe"))
    assert presented(("Cookie", garbage), (NAME, "nope"), ("X-Jay-Tracking", A)) == (A,)


def test_at_most_eight_different_ids_are_read() -> None:
    """Duplicates do not count toward the limit of eight ids."""
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(12)]
    line = "; ".join(f"{NAME}={one}" for one in [ids[0]] * 5 + ids)
    assert presented(("Cookie", line)) == tuple(ids[:8])


def test_a_comma_that_a_proxy_put_between_lines_separates_ids() -> None:
    """A line that a proxy joined with commas means the same as its lines."""
    for name in ("Cookie", NAME, "X-Jay-Tracking"):
        first, second = (f"{NAME}={A}", f"{NAME}={B}") if name == "Cookie" else (A, B)
        assert presented((name, f"{first}, {second}")) == presented((name, first), (name, second)) == (A, B), name


def test_an_id_in_two_places_is_read_once() -> None:
    """The same id in the cookie and in the headers is one candidate."""
    assert presented(("Cookie", f"{NAME}={A}"), (NAME, A)) == (A,)
    assert presented(("Cookie", f"{NAME}={B}"), (NAME, A), ("X-Jay-Tracking", B)) == (B, A)


@given(st.lists(st.tuples(st.sampled_from(["Cookie", NAME, "X-Jay-Tracking"]), st.text(max_size=200)), max_size=6))
def test_any_header_gives_ids(headers: list[tuple[str, str]]) -> None:
    """Any bytes give a short list of ids."""
    assert len(presented(*headers)) <= MAX_CANDIDATES


def test_the_cookie_matches_the_contract() -> None:
    """The cookies that set and delete differ only in value and lifetime."""
    cookie = SessionCookie(CookieSettings(), 86400)
    assert cookie.setting(A) == f"{NAME}={A}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"
    for max_age in (0, 1, 600):
        assert cookie.setting(A, max_age) == cookie.setting(A).replace("86400", str(max_age))
    assert cookie.deletion == (
        f"{NAME}=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax"
    )


def test_every_attribute_is_on_both_cookies() -> None:
    """Both cookies have each attribute, because a browser matches by them."""
    settings = CookieSettings(same_site="None", domain="example.com", path="/v1", partitioned=True)
    cookie = SessionCookie(settings, 60)

    def scope(text: str) -> list[str]:
        return [part for part in text.split("; ")[1:] if not part.startswith(("Max-Age", "Expires"))]

    assert scope(cookie.setting(A)) == scope(cookie.deletion)
    assert scope(cookie.deletion) == [
        "Path=/v1",
        "Domain=example.com",
        "Secure",
        "HttpOnly",
        "SameSite=None",
        "Partitioned",
    ]
