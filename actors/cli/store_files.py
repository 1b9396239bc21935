"""`backup`, `compact`, `copy`, `upgrade` and `verify`, with JSON and with something that moves."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from ..store import is_address
from ..store.lmdb.environment import DATA_FILE
from ..store.maintenance.rewriting import PARTIAL
from ..store.verify.verify import LIMIT
from .files import Done, copied, made_small, moved, upgraded, verified
from .named import codec_of
from .options import CodecOption, JsonOption
from .output import Growing, progress, show

__all__ = ["backup", "compact", "copy", "upgrade", "verify"]

PathArgument = Annotated[Path, typer.Argument(help="The store's folder.")]
PlaceArgument = Annotated[
    str, typer.Argument(metavar="STORE", help="The store's folder, or postgresql://...")
]


def backup(
    path: PlaceArgument,
    target: Annotated[Path, typer.Argument(help="The copy's folder, which is missing or empty.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Copy a store, beside its writer or without one.

    Example: procession backup var/shop /backups/shop-monday
    """
    _do(_copying("copying", path, target), lambda: copied(path, str(target)), as_json=as_json)


def compact(
    path: PathArgument,
    target: Annotated[
        Path | None,
        typer.Argument(help="A new folder; without it, the store itself is compacted."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write a store anew, as small as can be.

    Example: procession compact var/shop
    """
    where = None if target is None else str(target)
    _do(
        _copying("compacting", path, target or path),
        lambda: made_small(str(path), where),
        as_json=as_json,
    )


def copy(
    source: PlaceArgument,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A folder that is missing or empty, or postgresql://... without a store.",
        ),
    ],
    *,
    partitions: Annotated[
        int, typer.Option(min=1, help="Divide it into so many, at once and for good.")
    ] = 1,
    projections_anew: Annotated[
        bool,
        typer.Option("--projections-anew", help="Divided, have projections begin anew."),
    ] = False,
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a store that no process has open to another place; cut off, it goes on when repeated.

    With --partitions it must have settled, and is copied from its beginning if it was cut off.

    Example: procession copy var/shop 'postgresql://shop@db.example/orders?schema=shop'
    """
    with progress("copying and comparing") as told:
        done = moved(
            source,
            target,
            told,
            partitions=partitions,
            projections_anew=projections_anew,
            codec=codec_of(codec),
        )
    _end(done, as_json=as_json)


def upgrade(path: PathArgument, *, as_json: JsonOption = False) -> None:
    """Turn a store into one of this version's format.

    Example: procession upgrade var/shop
    """
    _do(_copying("upgrading", path, path), lambda: upgraded(str(path)), as_json=as_json)


def verify(
    path: PlaceArgument,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most findings.")] = LIMIT,
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check all that is in a store; 1 if something is wrong.

    Example: procession verify var/shop
    """
    with progress("checking") as told:
        done = verified(path, limit, told, codec_of(codec))
    _end(done, as_json=as_json)


def _copying(what: str, path: str | Path, target: Path) -> AbstractContextManager[object]:
    """A bar of how much is written of a store, which is about as long as it is now."""
    if is_address(path):
        return progress(what)
    data = Path(path) / DATA_FILE
    return Growing(what, target / PARTIAL, data.stat().st_size if data.is_file() else 0)


def _do(shown: AbstractContextManager[object], work: Callable[[], Done], *, as_json: bool) -> None:
    with shown:
        done = work()
    _end(done, as_json=as_json)


def _end(done: Done, *, as_json: bool) -> None:
    show(done.data, done.lines, as_json=as_json)
    raise typer.Exit(done.status)
