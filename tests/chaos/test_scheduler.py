"""Beats through deaths, freezes and restarts of Redis; `make chaos` runs it."""

import pytest
from support.beats import Beats, assert_nothing_lost, chaos


@pytest.mark.timeout(600)
def test_every_second_exactly_once(beats: Beats) -> None:
    """Two beats, two entries due each second: five kills, a freeze, two restarts of Redis."""
    chaos(beats, kills=5, freezes=1, restarts=2)
    assert_nothing_lost(beats)
