"""The plan of a unique count: every sketch is merged, in calls of bounded size."""

from collections import Counter, defaultdict

import pytest

from service.storage.paging import PAGE_SIZES
from service.storage.union_steps import MergeStep, UserUnion, plan_merges, split_into_calls

FIRST_DAY = 20_000


def sketches(step: MergeStep) -> list[tuple[int, str]]:
    return [(day, source) for day in range(step.days[0], step.days[1] + 1) for source in step.sources]


def unions(days: int, sources: int, source: str = "") -> tuple[UserUnion, list[str], list[UserUnion]]:
    """Return the union of a range, the sources, and all unions of a report by day."""
    total = UserUnion(FIRST_DAY, FIRST_DAY + days - 1, source)
    names = [source] if source else [f"s-{number}" for number in range(sources)]
    by_day = [UserUnion(day, day, source) for day in range(total.first_day, total.last_day + 1)]
    parts = [total._replace(source=name) for name in names] if len(names) > 1 else []
    return total, names, list(dict.fromkeys([total, *parts, *by_day]))


@pytest.mark.parametrize(("days", "sources"), [(1, 1), (2, 5), (90, 5), (400, 1), (90, 60), (400, 60), (2, 700)])
@pytest.mark.parametrize("bound", [1, 16, 37, PAGE_SIZES.sketches])
def test_a_call_merges_a_bounded_number_of_sketches(days: int, sources: int, bound: int) -> None:
    """A call stays within its bound, or is one step on one sketch."""
    total, names, unknown = unions(days, sources)
    for call in split_into_calls(list(plan_merges(unknown, total, names, bound)), bound):
        merged = sum(len(sketches(step)) for step in call)
        assert merged <= max(1, bound)
        assert sum(step.cost for step in call) <= bound or len(call) == 1


@pytest.mark.parametrize(("days", "sources"), [(1, 1), (2, 5), (90, 5), (400, 1), (90, 60)])
@pytest.mark.parametrize("known", [0, 1, 7])
def test_each_union_is_of_exactly_its_sketches(days: int, sources: int, known: int) -> None:
    """Each union starts once, finishes once and has all its sketches."""
    total, names, wanted = unions(days, sources)
    unknown = wanted[known:]
    steps = list(plan_merges(unknown, total, names, PAGE_SIZES.sketches))
    merged: defaultdict[int, Counter[tuple[int, str]]] = defaultdict(Counter)
    union_of = {step.number: step.union for step in steps}
    begun: set[int] = set()
    finished: set[int] = set()
    for step in steps:
        assert (step.number not in begun) == step.is_first
        assert step.number not in finished
        begun.add(step.number)
        merged[step.number].update(sketches(step))
        if step.is_last:
            finished.add(step.number)
            if step.whole is not None:
                assert step.whole in begun - finished
                merged[step.whole].update(merged[step.number])
    assert begun == finished
    assert set(unknown) <= set(union_of.values())
    assert len(union_of) == len(set(union_of.values()))
    for number, union in union_of.items():
        of = [union.source] if union.source else names
        cells = [(day, source) for day in range(union.first_day, union.last_day + 1) for source in of]
        assert merged[number] == Counter(cells)


def test_one_source_needs_one_union_for_its_range() -> None:
    """A range with one source is merged once."""
    total, names, wanted = unions(300, 1, "radio")
    steps = list(plan_merges(wanted, total, names, PAGE_SIZES.sketches))
    assert sum(len(sketches(step)) for step in steps) == 600
