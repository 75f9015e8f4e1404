"""The pure parts of the comparison with peers: figures, tables, the picture."""

from dataclasses import replace
from operator import attrgetter
from xml.etree import ElementTree as ET

import pytest

from bench.peers.chart import svg
from bench.peers.figures import Cell, Memory, Sample, medians, memory_table, notes, number, ratios, report, table
from bench.peers.requests import WORKLOADS, Session, by_cookie, creation

TITLES = {"project": "this service", "go": "Go & redigo"}
PROJECT = Sample(
    system="project",
    workload="get-cookie",
    connections=64,
    requests_per_second=20_000,
    service_us=30,
    redis_us=2,
    p50_ms=3,
    p99_ms=6,
    service_share=0.97,
    others_share=0.01,
    unexpected=0,
)
GO = replace(PROJECT, system="go", service_us=20, redis_us=7)
# The machine is twice as slow in the second round, and the peer has a bad third one.
ROUNDS = [
    replace(one, service_us=one.service_us * slowness, round=number)
    for number, (slowness, peer_slowness) in enumerate(((1, 1), (2, 1), (1, 5)))
    for one in (PROJECT, replace(GO, service_us=GO.service_us * peer_slowness))
]


def test_medians_are_over_rounds() -> None:
    """A cell's figure is the median of its rounds."""
    assert medians(ROUNDS, attrgetter("service_us")) == {
        Cell("get-cookie", 64, "project"): 30,
        Cell("get-cookie", 64, "go"): 40,
    }


def test_ratios_are_taken_within_a_round() -> None:
    """Neither a slow machine nor one bad round changes a ratio."""
    assert ratios(ROUNDS, attrgetter("service_us"), "project") == {Cell("get-cookie", 64, "go"): 1.5}


def test_a_round_without_the_service_has_no_ratio() -> None:
    """A ratio needs both systems in one round."""
    assert not ratios([replace(PROJECT, round=1), replace(GO, round=2)], attrgetter("service_us"), "project")


@pytest.mark.parametrize(
    ("value", "expected"), [(1.234, "1.23"), (9.996, "10.0"), (99.96, "100"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits(value: float, expected: str) -> None:
    """Figures have three significant digits."""
    assert number(value) == expected


def test_tables_are_markdown() -> None:
    """A table has a head, a rule and aligned cells."""
    assert table(("A", "B"), [("one", "2")]).splitlines() == ["| A   | B |", "|-----|---|", "| one | 2 |"]


def test_the_report_has_a_column_for_each_workload() -> None:
    """The tables have systems as rows, workloads as columns and ratios in brackets."""
    lines = report([*ROUNDS, replace(PROJECT, workload="mixed")], [], TITLES, "project").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[2][1:] == ["GET by cookie", "Mixed"]
    assert rows[4] == ["this service", "30.0 + 2.00", "30.0 + 2.00"]
    assert rows[5] == ["Go & redigo", "40.0 + 7.00 (1.50)", ""]
    assert ["Go & redigo", "20,000 (1.00)", ""] in rows
    assert ["Go & redigo", "3.00, 6.00 (1.00)", ""] in rows


def test_doubts_about_figures_are_reported() -> None:
    """Notes name unexpected answers, idle CPUs, noise and other processes."""
    found = "\n".join(notes([PROJECT, replace(GO, unexpected=3, service_share=0.5), *ROUNDS], TITLES))
    assert "Go & redigo, GET by cookie, 64 connections: 3 unexpected answers." in found
    assert "lower bound" not in found
    assert "1% of the service's CPU" in found
    assert "lower bound" in "\n".join(notes([replace(GO, service_share=0.5)], TITLES))


def test_memory_is_the_median_of_the_rounds() -> None:
    """A table shows the memory of sessions and connections, and gaps as empty cells."""
    memory = [Memory("go", "connection", size, index) for index, size in enumerate((1000, 3000, 2000))]
    assert "2,000 B" in memory_table([*memory, Memory("go", "guest", 200)], TITLES)


def test_the_picture_is_valid_and_has_a_bar_for_each_system() -> None:
    """The picture is well-formed XML, escapes titles and loads nothing."""
    picture = svg(ROUNDS, TITLES)
    root = ET.fromstring(picture)  # noqa: S314 - our own XML
    bars = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == ["page", "own", "peer", "redis", "own", "redis", "peer", "redis"]
    assert "Go &amp; redigo" in picture
    assert "href" not in picture
    assert "@import" not in picture


def test_requests_are_complete() -> None:
    """A request has the session's cookie among others, and a body of its length."""
    assert b"; name=id; " in by_cookie("GET", "/", Session("name=id", ""))
    head, _, body = creation("/", 7).partition(b"\r\n\r\n")
    assert body == b'{"user_id":"user-000000007"}'
    assert f"Content-Length: {len(body)}".encode() in head


def test_the_mix_has_the_documented_shares() -> None:
    """80 % of the mix are GET, 15 % POST and 5 % DELETE."""
    mixed = WORKLOADS["mixed"]
    shares = {name: mixed.count(name) / len(mixed) for name in set(mixed)}
    assert shares == {"get-cookie": 0.8, "post-guest": 0.1, "post-user": 0.05, "delete": 0.05}
