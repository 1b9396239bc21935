"""Logs of the kinds that real ones are of go in, are as a plain reader has them, and come back."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from procession.exporting import FORMATS
from tests.history.around import brought_around
from tests.history.kinds import OBJECT_LOGS, XES_LOGS, write_objects, write_xes

if TYPE_CHECKING:
    from pathlib import Path

WITH_PARQUET = [one for one in FORMATS if one != "parquet" or find_spec("pyarrow")]
CAME_TO = {
    "months": (23, 8, 9, 0),
    "ping-pong": (20, 4, 4, 6),
    "intervals": (9, 3, 3, 0),
    "same moment": (18, 3, 3, 6),
    "missing": (8, 4, 4, 0),
    "values": (6, 3, 3, 0),
    "many objects": (8, 19, 19, 0),
    "documents": (18, 12, 12, 0),
}
"""By kind of log: events, objects, reminders, and steps that went back."""


@pytest.mark.parametrize("kind", XES_LOGS)
def test_a_log_of_cases_comes_back_from_every_format(tmp_path: Path, kind: str) -> None:
    write_xes(tmp_path / "log.xes", XES_LOGS[kind]())
    found = brought_around(tmp_path / "log.xes", tmp_path, WITH_PARQUET)
    assert found == (*CAME_TO[kind], [])


@pytest.mark.parametrize("suffix", ["jsonocel", "xmlocel", "sqlite"])
@pytest.mark.parametrize("kind", OBJECT_LOGS)
def test_a_log_of_objects_comes_back_from_every_format(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    log = tmp_path / f"log.{suffix}"
    write_objects(log, OBJECT_LOGS[kind]())
    assert brought_around(log, tmp_path, WITH_PARQUET) == (*CAME_TO[kind], [])
