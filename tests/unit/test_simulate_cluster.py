"""The simulation behind docs/scaling.md, and the numbers in that document."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from service.sessions import SHARD_COUNT
from tools import simulate_cluster
from tools.simulate_cluster import SHARD_SLOTS, SLOTS, Load, Plan, cell, evenness, plan_cell, shards_of, slot_ranges

PRIMARIES = range(1, SHARD_COUNT + 1)


@pytest.fixture
def document(project: Path) -> str:
    """Return docs/scaling.md."""
    return (project / "docs" / "scaling.md").read_text("utf-8")


@pytest.mark.parametrize("primaries", PRIMARIES)
def test_every_slot_and_every_shard_has_one_primary(primaries: int) -> None:
    """The ranges of slots are equal, without gaps, and each shard is in one of them."""
    ranges = slot_ranges(primaries)
    assert len(ranges) == primaries
    assert (ranges[0].start, ranges[-1].stop) == (0, SLOTS)
    assert all(one.stop == other.start for one, other in pairwise(ranges))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1
    assert sum(shards_of(primaries)) == SHARD_COUNT == len(set(SHARD_SLOTS))


@pytest.mark.parametrize("primaries", PRIMARIES)
def test_no_primary_is_without_a_shard(primaries: int) -> None:
    """Shards are as even as 16 of them can be, and 16 primaries have one each."""
    shards = shards_of(primaries)
    assert max(shards) - min(shards) <= 1
    assert evenness(primaries) == pytest.approx(-(-SHARD_COUNT // primaries) * primaries / SHARD_COUNT)


def test_the_ranges_are_those_of_redis_cli() -> None:
    """The ranges for three primaries are those that redis-cli prints."""
    assert slot_ranges(3) == [range(5461), range(5461, 10_923), range(10_923, 16_384)]


def test_the_plan_grows_with_its_load() -> None:
    """Twice the sessions need twice the memory and cores, and users need more."""
    plan, double, users = Plan(Load()), Plan(Load(sessions_per_day=2e9)), Plan(Load(user_share=1))
    assert double.data_bytes == pytest.approx(2 * plan.data_bytes)
    assert double.redis_cores() == pytest.approx(2 * plan.redis_cores())
    assert double.worker_cores() == pytest.approx(2 * plan.worker_cores())
    assert users.data_bytes > plan.data_bytes
    assert users.redis_cores() > plan.redis_cores()
    assert plan.memory_of_node(16) * SHARD_COUNT == pytest.approx(plan.data_bytes)
    assert plan.memory_of_node(3) == pytest.approx(plan.data_bytes * 6 / 16)


def test_the_plan_is_the_sum_of_its_parts() -> None:
    """A load of one kind of request has the measured cost of this kind."""
    only_guests = Plan(Load(sessions_per_day=86_400, user_share=0, reads_per_session=0, ended_share=1, peak=1))
    guest, end = (plan_cell(kind, "CPU of primaries") for kind in ("POST guest", "DELETE"))
    assert only_guests.redis_cores() == pytest.approx((guest + end) / 1e6)
    assert only_guests.sum_of("appended") == plan_cell("POST guest", "appended") + plan_cell("DELETE", "appended")


def test_the_figures_in_the_text_are_the_measured_ones(document: str) -> None:
    """Numbers outside of the generated tables are computed from measured ones too."""
    guests, users = (
        1e9 / cell("Server | Guest | User", "Valkey 9.1.2", kind) / 1e6
        for kind in ("Guest", "User, one session each")
    )
    assert f"| {guests:.1f} million guests, or {users:.1f} million users (Valkey 9.1.2) |" in document
    reads, made, of_users = (
        f"{cell('Requests/s (ratio)', 'this service', kind):,.0f}"
        for kind in ("GET by cookie", "POST, guest", "POST, user")
    )
    assert f"{reads} reads, {made} creations of guests, or {of_users} creations of users per second" in document
    for visitors in (64, 512):
        row = f"Valkey 9.1.2, {visitors} visitors"
        same, each = (cell("Mix, divided by one server", row, one) for one in ("same load", "Cluster of 3"))
        beside_three = cell("Mix, divided by 3 servers", row, "Cluster of 3")
        assert f"| {visitors} | {same:.2f} | {each:.2f} | {beside_three:.2f} |" in document
    carried = sorted(
        3 / cell("Mix, divided by one server", f"Valkey 9.1.2, {visitors} visitors", "Cluster of 3")
        for visitors in (64, 512)
    )
    carries = re.search(r"Three primaries can handle ([\d.]+)\s+to\s+([\d.]+)\s+times", document)
    assert carries
    assert [f"{one:.1f}" for one in carried] == [*carries.groups()]
    assert f"Three primaries have the capacity of {3 / evenness(3):.1f}" in document


def test_sixteen_primaries_and_the_workers_are_not_too_busy() -> None:
    """16 primaries and the workers of the plan stay below their limits at the peak."""
    plan = Plan(Load())
    assert plan.busy(16) < simulate_cluster.REDIS_BUSY
    assert plan.worker_cores() / plan.workers() <= simulate_cluster.WORKER_BUSY


def test_another_load_can_be_planned(project: Path) -> None:
    """The program prints the tables for the load in its options."""
    command = [sys.executable, "-m", "tools.simulate_cluster", "--sessions-per-day", "86400", "--peak", "2"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert "| sessions created per second | 1 | 2 |" in done.stdout
