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
    """All cookie lines and duplicates in the order sent, then the header, then its alias."""
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
    """Other cases, prefixes, suffixes and the nameless cookie trick are somebody else's cookies."""
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


def test_white_space_and_quotes_around_a_cookie_value_are_not_part_of_it() -> None:
    """Browsers, proxies and libraries differ in them."""
    for pair in (f" {NAME}={A} ", f"a=b;{NAME}={A};c=d", f'{NAME}="{A}"', f"{NAME}={A.upper()}"):
        assert presented(("Cookie", pair)) == (A,), pair


def test_what_is_not_an_id_counts_as_absent() -> None:
    """Garbage hides nothing that comes after it, however much of it there is."""
    garbage = "; ".join(f"{NAME}={value}" for value in ("null", "undefined", "", "*" * 2000, "\udcff\udcfe"))
    assert presented(("Cookie", garbage), (NAME, "nope"), ("X-Jay-Tracking", A)) == (A,)


def test_at_most_eight_different_ids_are_looked_at() -> None:
    """Repetitions do not use up places; the ninth id does not reach Redis."""
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(12)]
    line = "; ".join(f"{NAME}={one}" for one in [ids[0]] * 5 + ids)
    assert presented(("Cookie", line)) == tuple(ids[:8])


@given(st.lists(st.tuples(st.sampled_from(["Cookie", NAME, "X-Jay-Tracking"]), st.text(max_size=200)), max_size=6))
def test_no_header_breaks_it(headers: list[tuple[str, str]]) -> None:
    """Whatever bytes come, the outcome is a short list of ids."""
    assert len(presented(*headers)) <= MAX_CANDIDATES


def test_the_cookie_is_letter_by_letter_the_contracts() -> None:
    """Setting and deleting differ in value and lifetime alone."""
    cookie = SessionCookie(CookieSettings(), 86400)
    assert cookie.setting(A) == f"{NAME}={A}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"
    assert cookie.deletion == (
        f"{NAME}=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax"
    )


def test_every_attribute_is_on_both_cookies() -> None:
    """A browser deletes a cookie only when scope and partition match."""
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
