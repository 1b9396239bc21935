"""Events as rows: CSV, JSON lines, and Parquet, for which pyarrow is needed."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import MissingExtra
from .stage import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .stage import Stage, StagedEvent

__all__ = ["write_csv", "write_jsonl", "write_parquet"]

COLUMNS = (
    "position",
    "id",
    "type",
    "time",
    "stream",
    "correlation_id",
    "causation_id",
    "headers",
    "objects",
    "data",
)

PAGE = 10_000
"""Rows of a row group of Parquet."""


def _columns(stage: Stage) -> tuple[str, ...]:
    return ("partition", *COLUMNS) if stage.is_divided else COLUMNS


def _rows(stage: Stage) -> Iterator[dict[str, Any]]:
    for event in stage.events():
        yield _row(event)


def _row(event: StagedEvent) -> dict[str, Any]:
    values = event.values
    return {
        **({} if event.partition is None else {"partition": event.partition}),
        "position": event.position,
        "id": event.id,
        "type": event.type,
        "time": event.time,
        "stream": values["stream"],
        "correlation_id": values["correlation_id"],
        "causation_id": values.get("causation_id"),
        "headers": values.get("headers"),
        "objects": text_of(list(dict.fromkeys(one.object for one in event.related))),
        "data": values["data"],
    }


def write_csv(stage: Stage, target: Path) -> None:
    """One event a line, its fields as JSON in the column `data`."""
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _columns(stage), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(stage))


def write_jsonl(stage: Stage, target: Path) -> None:
    """One event a line, with its fields and its objects.

    Fields with a number that JSON lacks, such as an infinite one, are a text, as in CSV.
    """
    with target.open("w", encoding="utf-8") as file:
        for event in stage.events():
            row = _row(event)
            row["objects"] = [
                {"id": one.object, "qualifier": one.qualifier} for one in event.related
            ]
            for name in ("data", "headers"):
                with suppress(ValueError):
                    row[name] = row[name] and json.loads(row[name], parse_constant=_refuse)
            file.write(f"{json.dumps(row, ensure_ascii=False, separators=(',', ':'))}\n")


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"JSON has no {number}")


def write_parquet(stage: Stage, target: Path) -> None:
    """The rows of `write_csv` as columns.

    Raises:
        MissingExtra: pyarrow is not installed

    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("Parquet", "parquet") from error
    schema = pa.schema(
        [
            (name, pa.int64() if name in {"position", "partition"} else pa.string())
            for name in _columns(stage)
        ]
    )
    rows = _rows(stage)
    with pq.ParquetWriter(target, schema) as writer:
        while page := list(islice(rows, PAGE)):
            writer.write_table(pa.Table.from_pylist(page, schema=schema))
