"""The front door answers as aiohttp and the handlers do, byte for byte."""

import dataclasses
import random

import pytest

from service.api_keys import hash_key
from service.config.settings import ServerSettings
from tests.api.conftest import KEYS, OpenDoors
from tests.api.doors import BODY, LAST, LIVEZ, A, Doors, cookie, request
from tests.api.front_door_contents import CONTENTS
from tests.api.front_door_heads import BEHIND, ENDS, HEADS, SLOW, USUAL
from tests.api.front_door_proxies import FAST_FORWARDED, PROXIES
from tests.support.servers import RedisServer, binaries

CORPORA = {**HEADS, **CONTENTS, **PROXIES}
SEEDS = range(12)
FORWARDED = {f"forwarded {name}": one for name, one in FAST_FORWARDED.items()}
GOOD = {**FORWARDED, **USUAL, **ENDS, **SLOW}
OPEN = [one for name, one in GOOD.items() if name != "bad json"]
MIXED = (
    request("GET", cookie(A)),
    request("POST", "Content-Type: application/json", body=BODY),
    request("POST", "Content-Type: application/json", body=b"{"),
    request("DELETE", cookie("x")) + LIVEZ,
)


@pytest.mark.parametrize("corpus", CORPORA)
async def test_every_request_is_answered_alike(doors: Doors, corpus: str) -> None:
    """The front door and aiohttp give equal answers, log records and keys in Redis."""
    assert all((await doors.check_all(CORPORA[corpus])).values())


@pytest.mark.parametrize("corpus", CORPORA)
async def test_every_request_of_a_half_closed_connection_is_answered_alike(doors: Doors, corpus: str) -> None:
    """A request is answered alike when the client closes its side after it."""
    for name, one in CORPORA[corpus].items():
        await doors.answers(one, half_close=True, name=name)
    await doors.check_effects()


async def test_the_usual_requests_do_not_reach_aiohttp(doors: Doors) -> None:
    """The front door answers the usual requests, so the comparisons mean something."""
    for name, one in {**FORWARDED, **USUAL, **ENDS}.items():
        await doors.answers(one, half_close=True, name=name)
    assert doors.front.runner.server is not None
    assert doors.aiohttp.runner.server is not None
    assert doors.front.runner.server.requests_count == 0
    assert doors.aiohttp.runner.server.requests_count == len(FORWARDED) + len(USUAL) + len(ENDS)


@pytest.mark.parametrize("case", range(len(MIXED)))
async def test_a_request_may_be_cut_at_every_byte(doors: Doors, case: int) -> None:
    """A request in two packets gets the same answer as in one packet."""
    data = MIXED[case]
    whole = await doors.answers(data + LAST)
    for place in range(1, len(data)):
        assert await doors.answers(data[:place], data[place:] + LAST, name=place) == whole
    await doors.check_effects()


@pytest.mark.parametrize("seed", SEEDS)
async def test_pipelines_of_frequent_and_other_requests_are_answered_alike(doors: Doors, seed: int) -> None:
    """Pipelined requests get equal answers, in order, wherever the packets end."""
    chance = random.Random(seed)
    for _ in range(3):
        requests = chance.choices(OPEN, k=chance.randint(2, 25))
        data = b"".join(requests) + chance.choice([LAST, b""])
        places = sorted(chance.sample(range(1, len(data)), chance.choice([0, 1, 5, 20])))
        packets = [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]
        answer = await doors.answers(*packets, half_close=True)
        assert answer.count(b"\r\nServer: ") == len(requests) + data.endswith(LAST)
    await doors.check_effects()


@pytest.mark.parametrize("name", BEHIND)
async def test_bytes_after_a_request_do_not_change_its_answer(doors: Doors, name: str) -> None:
    """The front door answers a request although garbage follows in the same packet."""
    good, rest = BEHIND[name]
    answer = await doors.check_in_packets(good, rest + LAST, name=name)
    assert answer.count(b"\r\nServer: ") == 2
    assert answer.count(b"400 Bad Request") + answer.count(b"405 Method Not Allowed") == 1
    await doors.check_effects()


@pytest.mark.parametrize("more", [b"", b'{"user_id": "a', BODY[:-1]])
async def test_a_body_that_ends_early_is_answered_alike(doors: Doors, more: bytes) -> None:
    """A client that closes its side within a body gets a 400 and no session."""
    head = request("POST", f"Content-Length: {len(BODY)}", "Content-Type: application/json")
    for packets in ((head + more,), (head, more), (LIVEZ + head + more,), (USUAL["guest"] + head + more,)):
        assert b"400 Bad Request" in await doors.answers(*packets, half_close=True)
    await doors.check_effects()


async def test_a_create_limit_counts_alike(open_doors: OpenDoors) -> None:
    """Limits count by key and client address, and rejected bodies do not count."""
    doors = await open_doors(server=ServerSettings(trusted_proxies=("127.0.0.1",)))
    lines = (
        *("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2, 1.1.1.1", "X-Forwarded-For: 1.1.1.1:80", "X-Y: z"),
        *("Forwarded: for=1.1.1.1", 'Forwarded: For="[2001:db8::1]:80"', "X-Forwarded-For: 2001:db8::2"),
        *("X-Forwarded-For:", "X-Forwarded-For: x", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=_hidden"),
    )
    statuses = []
    for line in lines:
        for body in (BODY, b"{", b""):
            for _ in range(2):
                answer = await doors.answers(request("POST", line, key="limited-key", body=body) + LAST, name=line)
                statuses.append(answer.split()[1])
    assert set(statuses) == {b"201", b"400", b"429"}
    await doors.check_effects()


@pytest.mark.parametrize(("raw", "status"), [("", b"401"), ("a,b", b"400")])
async def test_hashes_of_invalid_keys_are_answered_alike(open_doors: OpenDoors, raw: str, status: bytes) -> None:
    """A configured hash of an empty string, or of a string with a comma, is no key."""
    doors = await open_doors(api_keys=(dataclasses.replace(KEYS[0], sha256=hash_key(raw)),))
    for key in {raw, raw or None}:
        for one in (request("POST", key=key), request("GET", cookie(A), key=key), request("DELETE", key=key)):
            answer = await doors.answers(one + LAST, name=one)
            assert answer.split()[1] == status
    await doors.check_effects()


async def test_errors_of_redis_are_answered_alike(
    open_doors: OpenDoors, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without Redis, requests that need it get 503, and others their usual answer."""
    with RedisServer(binaries()["valkey"], tmp_path_factory.mktemp("own")) as own:
        doors = await open_doors(own.url)
        own.kill()
        for name, one in GOOD.items():
            answer = await doors.answers(one + LAST, name=name)
            if name in {"cookie", "user", "guest", "end by cookie"}:
                assert answer.startswith(b"HTTP/1.1 503 "), name
            if name == "forwarded live":
                assert b"\r\nX-Jay-Session: unknown\r\n" in answer
        await doors.check_effects(with_keys=False)


async def test_a_service_that_drains_answers_alike(doors: Doors) -> None:
    """While the service drains, each answer closes its connection."""
    for service in (doors.front, doors.aiohttp):
        service.runner.health.is_draining = True
    for name, one in GOOD.items():
        answer = await doors.answers(one + LAST, name=name)
        assert answer.count(b"Connection: close\r\n") == answer.count(b"\r\nServer: ") == 1, name
    await doors.check_effects()
