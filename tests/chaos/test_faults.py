"""The whole fault matrix (tests/support/faults.py); `make chaos` runs it."""

import pytest
from support.fault_stage import StageOf
from support.faults import CELLS, Cell


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def test_each_fault_has_its_end(stage_of: StageOf, cell: Cell) -> None:
    """At each moment: each effect once, the right end, the right dead letters, nothing stuck."""
    stage_of(cell.pool).play(cell)
