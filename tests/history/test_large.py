"""Memory does not grow with a log that goes out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.history.large import bring, write
from tests.history.peak import peak_memory

if TYPE_CHECKING:
    from pathlib import Path


def test_an_export_takes_no_more_memory_for_more_events(tmp_path: Path) -> None:
    taken = []
    for events in (400, 1_600):
        folder = tmp_path / str(events)
        folder.mkdir()
        bring(folder, events)
        taken.append(peak_memory(partial(write, folder, "ocel-json")))
    assert taken[1] < 1.3 * taken[0] + 500_000
