"""Rows of a file that is to be imported, by number, whatever its format."""

from __future__ import annotations

import csv
import json
import zlib
from typing import TYPE_CHECKING

from ..errors import UnreadableRow
from .files_opened import opened
from .ocel import json_rows, sqlite_rows, xml_rows
from .parquet import parquet_rows
from .xes import xes_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .files_opened import Row

__all__ = ["FORMATS", "rows_of"]

csv.field_size_limit(1 << 27)


def _csv_rows(path: Path) -> Iterator[Row]:
    with opened(path, "rt") as file:
        lines = csv.reader(file, strict=True)
        header = next(lines, None)
        if not header:
            raise ValueError("the file is empty; its first line names the columns")
        if len(set(header)) < len(header):
            raise ValueError(f"the first line names a column twice: {','.join(header)}")
        for line in lines:
            if len(line) != len(header):
                raise ValueError(f"{len(line)} values for {len(header)} columns")
            yield {name: value or None for name, value in zip(header, line, strict=True)}


def _json_lines(path: Path) -> Iterator[Row]:
    with opened(path, "rt") as file:
        for line in file:
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("the line is no JSON object")  # noqa: TRY004 - of the file
            yield row


FORMATS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "csv": _csv_rows,
    "jsonl": _json_lines,
    "parquet": parquet_rows,
    "xes": xes_rows,
    "ocel-json": json_rows,
    "ocel-xml": xml_rows,
    "ocel-sqlite": sqlite_rows,
}
"""What reads a file, by the name of its format."""

_SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xes": "xes",
    ".jsonocel": "ocel-json",
    ".json": "ocel-json",
    ".xmlocel": "ocel-xml",
    ".xml": "ocel-xml",
    ".sqlite": "ocel-sqlite",
}

_BROKEN = (ValueError, OSError, EOFError, zlib.error, csv.Error, LookupError, RecursionError)


def rows_of(path: Path, kind: str | None = None) -> Iterator[tuple[int, Row]]:
    """The rows of a file, from 1, read as they are asked for.

    Args:
        path: of the file
        kind: one of `FORMATS`; without it, the name of the file says it

    Raises:
        UnreadableRow: the file cannot be read there; which row, and why

    """
    read = FORMATS.get(kind or format_of(path))
    if read is None:
        raise UnreadableRow(f"{kind} is no format; give a format, one of {', '.join(FORMATS)}")
    number = 0
    try:
        for row in read(path):
            number += 1
            yield number, row
    except _BROKEN as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        where = f"row {number + 1}: " if number or not isinstance(error, OSError) else ""
        raise UnreadableRow(f"{path}: {where}{said}") from error


def format_of(path: Path) -> str:
    """The format that the name of a file says.

    Raises:
        UnreadableRow: it says none

    """
    name = path.name.lower().removesuffix(".gz")
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    raise UnreadableRow(
        f"{path}: its name does not say what is in it; give the format, one of {', '.join(FORMATS)}"
    )
