"""Promises 2, 4 and 5 of a divided store, whose processes are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kill.shares import campaign

if TYPE_CHECKING:
    from pathlib import Path


def test_processes_of_a_divided_store_are_killed_and_nothing_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    outcome = campaign(tmp_path / "store", kills=4, partitions=4, processes=2, seed=3)
    assert (outcome.lost, outcome.doubled, outcome.findings) == ([], [], [])
    assert outcome.kills == 4
    assert outcome.told > 0
