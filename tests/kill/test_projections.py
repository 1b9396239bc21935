"""What a projection promises of its table and its documents: they equal a fold of the log, whatever
is killed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from tests.kill.projections import campaign
from tests.postgresql import new_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("on", ["a file", "a database"])
def test_a_service_is_killed_and_its_table_and_documents_equal_a_fold_of_the_log(
    tmp_path: Path, on: str
) -> None:
    with new_server() if on == "a database" else nullcontext() as server:
        outcome = campaign(tmp_path, kills=4, seed=3, server=server)
    assert outcome.wrong == []
    assert outcome.stale == 0
    assert outcome.events > 0
    assert outcome.documents > 0
    assert outcome.reads > 0
