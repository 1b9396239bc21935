"""What a projection promises of its table: it equals a fold of the log, whatever is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kill.projections import campaign

if TYPE_CHECKING:
    from pathlib import Path


def test_a_service_is_killed_and_its_table_equals_a_fold_of_the_log(tmp_path: Path) -> None:
    outcome = campaign(tmp_path, kills=4, seed=3)
    assert outcome.wrong == []
    assert outcome.stale == 0
    assert outcome.events > 0
    assert outcome.reads > 0
