"""Promises 2, 4 and 5 of the order example, whatever it runs on, when processes are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kill.orders import HOUSES, House, campaign
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "process": HOUSES["process"],
    "processes": House(services=1, partitions=4, processes=2),
    "nodes": House(services=2, partitions=4, processes=1),
}


@pytest.mark.parametrize("on", CASES)
def test_orders_are_neither_lost_nor_doubled_when_processes_are_killed(
    on: str, tmp_path: Path
) -> None:
    is_shared = on == "nodes"
    place = shared_server().new_url(without_tables=True) if is_shared else str(tmp_path / "store")
    outcome = campaign(place, CASES[on], kills=2, seed=3)
    assert (outcome.lost, outcome.doubled, outcome.findings) == ([], [], [])
    assert outcome.told > 0
