"""A repeated request has the plan of the first one and its own session ids."""

from collections.abc import Callable

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from service.api import wire
from service.api.auth import Authorizer
from service.api.cors import Cors
from service.api.front_door.exchange import Exchange, Plan, Route
from service.api.front_door.heads import presented_in
from service.api.front_door.plans import Planner
from service.api.front_door.repeats import Repeat
from service.api_keys import ApiKey, Keyring, Scope, hash_key
from service.config.settings import CorsSettings

PATH = wire.SESSION_PATHS[0]
KEYS = Keyring([ApiKey("app", hash_key("key"), frozenset({Scope.TRACK}))])
A, B, UPPER = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002", "C" * 8 + "-0000" * 3
UPPER += "-00000000000C"
IDS = (A, B, UPPER, "d" * 36, A[:-1] + "-", A[:-1] + "\r", A[1:], A + "0", f"{A[:8]};{A[9:]}", "null", "")
WRONG = st.text('0123456789abcdefABCDEF-;, \r\n"=', min_size=36, max_size=36)
LINES = (
    *("Cookie: __Secure-jay_tracking={}", "Cookie: a=1; __Secure-jay_tracking={}; b=2", "__Secure-jay_tracking: {}"),
    *("X-Jay-Tracking: {}", "X-Other: {}", "Cookie: x__Secure-jay_tracking={}", "X-Jay-Tracking: {}, {}"),
    *('Cookie: __Secure-jay_tracking="{}"', "Content-Length: 0", "Origin: https://a.example", "Origin: https://{}"),
    *("x-jay-api-version: 2025-05-19", "Connection: keep-alive", "Content-Length: 36", "Transfer-Encoding: chunked"),
    *("baggage: a=1", "baggage: a={}"),
)


def nothing(*_: object) -> None:
    """Begin or finish nothing."""


@pytest.fixture(scope="module")
def planner() -> Planner:
    """A planner for all methods of a session."""
    routes = {
        (method.encode(), PATH.encode()): Route(method, PATH, nothing, nothing, takes_body=method == "POST")  # type: ignore[arg-type]
        for method in ("GET", "POST", "DELETE")
    }
    router = web.UrlDispatcher()
    return Planner(routes, Authorizer(KEYS), Cors(router, [], CorsSettings(origins=("https://a.example",))))


def head_of(method: str, lines: list[str], session_id: str) -> bytes:
    """Return a head with an id in each line that has a place for one."""
    first = [f"{method} {PATH} HTTP/1.1", "Host: x", "X-API-Key: key"]
    return ("\r\n".join([*first, *(line.replace("{}", session_id) for line in lines)]) + "\r\n\r\n").encode()


def repeat_of(planner: Planner, data: bytes) -> Repeat | None:
    """Return what the door keeps of a request, or None if aiohttp answers it."""
    plan = planner.plan(data)
    return None if plan is None else Repeat.of(Exchange(plan, presented_in(plan.headers)), data)


def without_ids(plan: Plan) -> Plan:
    """Return a plan without the headers that have session ids."""
    names = {b"cookie", wire.SESSION_TOKEN.lower().encode(), wire.SESSION_TOKEN_ALIAS.lower().encode()}
    return plan._replace(headers={name: value for name, value in plan.headers.items() if name not in names})


@given(
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.lists(st.sampled_from(LINES), max_size=4),
    st.sampled_from([A, B, UPPER]),
    st.sampled_from(IDS) | WRONG,
    st.binary(max_size=40),
)
@example("GET", [LINES[0]], A, B, b"")
@example("GET", [LINES[4]], A, B, b"")
@example("GET", [LINES[0], LINES[2]], A, B, b"")
@example("GET", [LINES[1]], A, UPPER, b"GET / HTTP/1.1\r\n\r\n")
def test_a_repeat_is_read_like_a_first_request(
    planner: Planner, method: str, lines: list[str], first: str, second: str, rest: bytes
) -> None:
    """A repeat has the same plan and ids as when it is read whole."""
    repeat = repeat_of(planner, head_of(method, lines, first))
    if repeat is None:
        return
    data = head_of(method, lines, second) + rest
    presented = repeat.presented_in(data)
    if presented is None:
        return
    plan = planner.plan(data)
    assert plan is not None
    assert presented == presented_in(plan.headers)
    assert without_ids(plan) == without_ids(repeat.plan)


@pytest.mark.parametrize("line", [LINES[0], LINES[1], LINES[2], LINES[3]])
@pytest.mark.parametrize(("second", "expected"), [(A, (A,)), (B, (B,)), (UPPER, (UPPER.lower(),)), ("g" * 36, None)])
def test_another_id_in_the_same_place(
    planner: Planner, line: str, second: str, expected: tuple[str, ...] | None
) -> None:
    """A head that differs in its only session id is a repeat."""
    repeat = repeat_of(planner, head_of("GET", [line], A))
    assert repeat is not None
    assert repeat.presented_in(head_of("GET", [line], second)) == expected


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "method": lambda head: head.replace(b"GET", b"HEAD"),
    "key": lambda head: head.replace(b"Key: key", b"Key: yek"),
    "one byte more": lambda head: head.replace(b"Host: x", b"Host: xx"),
    "cut": lambda head: head[:-1],
    "another header": lambda head: head.replace(b"\r\n\r\n", b"\r\nA: b\r\n\r\n"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("lines", [[], [LINES[0]], [LINES[0], LINES[2]]])
def test_every_other_difference_is_no_repeat(planner: Planner, lines: list[str], change: str) -> None:
    """A head that differs in anything but its session id is read whole."""
    head = head_of("GET", lines, A)
    repeat = repeat_of(planner, head)
    assert repeat is not None
    assert repeat.presented_in(head) is not None
    assert repeat.presented_in(CHANGES[change](head)) is None


def test_several_ids_only_repeat_themselves(planner: Planner) -> None:
    """A head with two different ids is a repeat when both are the same again."""
    both = [LINES[0], LINES[3].replace("{}", B)]
    repeat = repeat_of(planner, head_of("GET", both, A))
    assert repeat is not None
    assert repeat.presented_in(head_of("GET", both, A)) == (A, B)
    assert repeat.presented_in(head_of("GET", both, UPPER)) is None


def test_an_id_that_is_sent_twice_only_repeats_itself(planner: Planner) -> None:
    """Another id in one of the two places is a second candidate, so it is no repeat."""
    repeat = repeat_of(planner, head_of("GET", [LINES[0], LINES[2]], A))
    assert repeat is not None
    assert repeat.presented_in(head_of("GET", [LINES[0], LINES[2]], A)) == (A,)
    for lines in ([LINES[0], LINES[2].replace("{}", A)], [LINES[0].replace("{}", A), LINES[2]]):
        assert repeat.presented_in(head_of("GET", lines, B)) is None


def test_a_long_head_is_not_kept(planner: Planner) -> None:
    """A connection keeps at most 2 kB of a head."""
    assert repeat_of(planner, head_of("GET", ["A: " + "x" * 2000], A)) is None
