"""The fault matrix in the docs is the one that the tests play."""

from support.fault_page import PAGE, renewed
from support.faults import CELLS, MATRIX, PRUNED, Fault, Moment


def test_the_docs_have_the_codes_tables() -> None:
    """`PYTHONPATH=tests python -m support.fault_page` writes them."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page)
    assert f": {len(CELLS)} cells." in page
    assert f"`make test` {len(PRUNED)} of them." in page


def test_each_fault_and_moment_is_played() -> None:
    """By `make chaos`, of which `make test` plays a part in either pool."""
    assert {cell.fault for cell in CELLS} == set(Fault)
    assert {cell.moment for cell in CELLS} == set(Moment)
    assert {cell.pool for cell in PRUNED} == set(MATRIX)
    assert len({cell.id for cell in CELLS}) == len(CELLS)
