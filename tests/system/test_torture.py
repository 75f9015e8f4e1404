"""`jay-tracking torture`, and a few trials of each fault. `make torture` runs many."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.torture.kinds import KINDS, Failover

TRIALS = 2


@pytest.mark.parametrize("kind", KINDS)
async def test_no_fault_loses_what_was_acknowledged(kind: str, tmp_path: Path) -> None:
    """Every acknowledged change is found and counted after each kind of fault.

    Only a power loss with `appendfsync everysec` may lose the last changes.
    """
    chosen = KINDS[kind]
    if chosen.missing:
        pytest.skip(f"this needs {chosen.missing}")
    if isinstance(chosen, Failover):
        chosen = replace(chosen, down_after_seconds=1.0)
    async with chosen.site(tmp_path / "site", "valkey") as trials:
        for _ in range(TRIALS):
            outcome = await trials.run()
            assert chosen.verdict(outcome) == []
            assert outcome.acknowledged > 100
