"""The window in memory. The one in Redis: tests/integration/api/test_shared_window.py."""

from types import SimpleNamespace
from unittest.mock import patch

from hypothesis import given
from limits.storage import memory
from support.call_windows import LIMIT, ORDERS, check_any_order
from support.ledgers import Clock

from bionewsbot.api import call_window


@given(ORDERS)
def test_a_local_window_counts_as_a_list_does(order: list[str]) -> None:
    """Whatever the order of urgent and other calls, and however time passes between."""
    clock = Clock(1_768_456_800.0)
    time = SimpleNamespace(time=clock)
    with patch.object(memory, "time", time), patch.object(call_window, "time", time):
        check_any_order(call_window.LocalWindow(LIMIT), clock.advance, order)
