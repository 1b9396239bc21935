"""A file that is to be imported, opened, and what its rows are."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Row", "opened"]

Row: TypeAlias = dict[str, Any]
"""Values by column; None of an empty one. A column that a row does not have is not in it."""


@contextmanager
def opened(path: Path, mode: str = "rb") -> Iterator[IO[Any]]:
    """A file, unpacked if its name ends in `.gz`."""
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8-sig", "newline": ""}
    open_it: Any = gzip.open if path.suffix == ".gz" else open
    with open_it(path, mode, **options) as file:
        yield file
