"""Each attack on the running service, without a proxy, behind nginx and HAProxy."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.attacks.attack import CANARY, FRONTS, ORIGIN, VICTIM, Attack, answers_of, status_of
from tests.attacks.browser import BROWSER
from tests.attacks.identity import IDENTITY
from tests.attacks.transport import TRANSPORT
from tests.support.haproxy import HAPROXY, start_haproxy
from tests.support.nginx import NGINX, start_nginx
from tests.support.processes import Launch, Process

TABLES = {"transport": TRANSPORT, "identity": IDENTITY, "browser": BROWSER}
BY_SERVICE = b"x-jay-api-version: "
RAISED = ('"level":"error"', '"level":"warning"', "traceback")


@pytest.fixture
def service(launch: Launch) -> Process:
    """A service with one allowed origin, which trusts the proxies on this machine."""
    return launch(JAY_CORS__ORIGINS=json.dumps([ORIGIN]), JAY_SERVER__TRUSTED_PROXIES='["127.0.0.1"]')


@pytest.fixture
def fronts(service: Process, tmp_path: Path) -> Iterator[Mapping[str, Process]]:
    """The service itself, and the installed proxies in front of it."""
    found = {"direct": service}
    if NGINX:
        found["nginx"] = start_nginx(tmp_path / "nginx", service.url)
    if HAPROXY:
        found["haproxy"] = start_haproxy(tmp_path / "haproxy", service.url)
    yield found
    for name, proxy in found.items():
        if name != "direct":
            proxy.stop()


def findings(attack: Attack, front: str, answers: list[bytes]) -> Iterator[str]:
    """Yield the differences from the expectations of an attack."""
    statuses = " ".join(map(status_of, answers))
    if statuses != getattr(attack, front).strip():
        yield f"{statuses} instead of {getattr(attack, front)}"
    if CANARY.encode() in b"".join(answers):
        yield "an answer repeats the request"
    for answer in answers:
        is_error = status_of(answer) >= "400"
        if front == "direct" and is_error and b"\r\n\r\n{" in answer:
            document = json.loads(answer.partition(b"\r\n\r\n")[2])
            if document["status"] != int(status_of(answer)) or not document["type"].startswith("urn:jay:problem:"):
                yield f"no problem document: {answer!r}"
        if front == "direct" and BY_SERVICE not in answer:
            yield f"an answer without the fixed headers: {answer!r}"
    first = answers[0] if answers and BY_SERVICE in answers[0] else b""
    if first or attack.has:
        # HAProxy writes the names of headers in lower case.
        yield from (f"no {value!r}" for value in attack.has if value.lower() not in first.lower())
        yield from (f"has {value!r}" for value in attack.lacks if value.lower() in first.lower())


@pytest.mark.parametrize("table", TABLES)
async def test_each_attack_gets_its_answers(service: Process, fronts: Mapping[str, Process], table: str) -> None:
    """An attack gets the same answers as in the table, and ends no session."""
    victim, found = service.create(), []
    for name, attack in TABLES[table].items():
        data = attack.data.replace(VICTIM.encode(), victim.encode())
        for front, process in fronts.items():
            answers = await answers_of(process.url, data, attack.seconds)
            found += [f"{name}, {front}: {finding}" for finding in findings(attack, front, answers)]
        if service.status_of(victim) != 200:
            found.append(f"{name}: a hidden request was executed")
            victim = service.create()
    assert not found, "\n".join(found)
    written = "\n".join([*service.log, *service.output])
    assert CANARY not in written
    assert victim not in written
    assert [line for line in service.log if any(word in line for word in RAISED)] == []


def test_the_tables_are_complete() -> None:
    """The tables have several attacks for most faults, and names are unique."""
    attacks = [attack for table in TABLES.values() for attack in table.values()]
    assert len(attacks) == len({attack.data for attack in attacks})
    assert len({attack.fault for attack in attacks}) == 18
    assert set(FRONTS) <= Attack.__annotations__.keys()
