"""Rows of Parquet files, for which pyarrow is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .files_opened import Row

__all__ = ["parquet_rows"]


def parquet_rows(path: Path) -> Iterator[Row]:
    """All rows, a batch in memory at a time.

    Raises:
        MissingExtra: pyarrow is not installed

    """
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("Parquet", "parquet") from error
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()
