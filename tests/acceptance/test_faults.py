"""A part of the fault matrix; `make chaos` plays all of it (docs/faults.md)."""

import pytest
from support.fault_stage import StageOf
from support.faults import PRUNED, Cell


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cell", PRUNED, ids=lambda cell: cell.id)
def test_a_fault_has_its_end(stage_of: StageOf, cell: Cell) -> None:
    """Each effect once, the right end, the right dead letters, nothing stuck."""
    stage_of(cell.pool).play(cell)
