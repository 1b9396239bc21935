"""How answers are shown: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

__all__ = [
    "Column",
    "Growing",
    "progress",
    "said",
    "short",
    "show",
    "show_json",
    "show_rows",
    "when",
]

Column: TypeAlias = "tuple[str, Callable[[dict[str, Any]], object]]"
"""A title, and what of a row stands below it."""

WIDE = 240
"""Characters of a line where the output is no terminal, and so has no width."""

LONGEST = 60
"""Characters of a value in a table."""


def _console() -> Console:
    # Made when it is used: what the output is may have changed.
    is_terminal = sys.stdout.isatty()
    return Console(width=None if is_terminal else WIDE, highlight=False, soft_wrap=not is_terminal)


def printable(value: object) -> str:
    """Text in which nothing steers a terminal, whatever was stored."""
    text = "" if value is None else str(value)
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()
        for one in text
    )


def short(value: object) -> str:
    """A value of a state or a message, on one line that is cut short."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def when(moment: str | None) -> str:
    """A time without what is too fine for people."""
    return "" if moment is None else moment[:19].replace("T", " ")


def said(line: object) -> None:
    """Print a line for people."""
    _console().print(Text(printable(line)))


def show_json(value: object) -> None:
    """Print a value for programs."""
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def show(value: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print one value."""
    if as_json:
        show_json(value)
        return
    for line in lines:
        said(line)


def show_rows(
    rows: Iterable[dict[str, Any]],
    columns: list[Column],
    *,
    as_json: bool,
    nothing: str,
    is_search: bool = False,
) -> int:
    """Print rows: a table for people, a line each for programs.

    Args:
        rows: what there is
        columns: of the table
        as_json: for programs
        nothing: what people are told where there is no row
        is_search: whether it may take long until there is a row, so that something has to move

    Returns:
        how many there were

    """
    count = 0
    if as_json:
        for row in rows:
            show_json(row)
            count += 1
        return count
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, _ in columns:
        table.add_column(title, overflow="fold")
    with progress("looking") if is_search else nullcontext(_untold) as found:
        for row in rows:
            count += 1
            found(count)
            if "error" in row and "error_type" not in row:
                why = row["error"] if "pruned" in row else f"cannot be read: {row['error']}"
                table.add_row(
                    Text(printable(row.get("id") or row.get("position") or "?")),
                    Text(printable(why), style="red"),
                )
                continue
            table.add_row(*(Text(printable(of(row))) for _, of in columns))
    if count:
        _console().print(table)
    else:
        said(nothing)
    return count


def _untold(count: int) -> None:
    """No bar is told how many there are."""


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A bar, on the terminal's other output.

    Args:
        what: is done
        total: how much there is to do, if that is known already

    Returns:
        what is called with how much is done, and with the total once that is known

    """
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, of=total: bar.update(task, completed=done, total=of)


class Growing(Progress):
    """A bar of how long a file is that is being written; a context manager.

    Args:
        what: is done
        file: that grows
        total: bytes that it will have, at most

    """

    def __init__(self, what: str, file: Path, total: int) -> None:
        # The bar is drawn from its first moment.
        self._file = file
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._writing = self.add_task(what, total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.tasks:
            with suppress(FileNotFoundError):
                self.update(self._writing, completed=self._file.stat().st_size)
        return super().get_renderables()
