"""A store as one file: which format, what goes into it, and the file only when it is whole."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidMessage
from ..model.registry import Registry
from ..queries.pruned import pruned_behind
from ..store import StoreError, open_store
from . import flat, ocel, xes
from .stage import Stage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from ..model.domain import Domain
    from ..store import PayloadCodec

__all__ = ["FORMATS", "Exported", "export"]

FORMATS: dict[str, Callable[[Stage, Path], None]] = {
    "ocel-json": ocel.write_json,
    "ocel-sqlite": ocel.write_sqlite,
    "ocel-xml": ocel.write_xml,
    "xes": xes.write_xes,
    "parquet": flat.write_parquet,
    "csv": flat.write_csv,
    "jsonl": flat.write_jsonl,
}
"""What writes a file, by the name of its format."""

_SUFFIXES = {
    ".jsonocel": "ocel-json",
    ".json": "ocel-json",
    ".sqlite": "ocel-sqlite",
    ".xmlocel": "ocel-xml",
    ".xml": "ocel-xml",
    ".xes": "xes",
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        events: how many
        objects: how many things these have to do with
        position: that of the newest event of the store; `after` of the next export
        pruned: the newest position behind `after` of which the event was pruned; 0 if none was

    """

    events: int
    objects: int
    position: int
    pruned: int = 0


def export(
    store: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *domains: Domain,
    kind: str | None = None,
    objects: Iterable[str] | None = None,
    after: int = 0,
    codec: PayloadCodec | None = None,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> Exported:
    """Write what a store holds as a file, beside its service or without one.

    Args:
        store: its folder or its address
        target: the file, which is replaced when the new one is whole
        domains: whose fields that are marked as personal are masked; without them none is
        kind: one of `FORMATS`; without it, the name of the file says it
        objects: the only types of objects: categories of streams, and process managers; events
            that have to do with none of them are left out
        after: only events behind this position
        codec: of a store that has one; what it encodes is in plain words in the file
        progress: called now and then with how many events were looked at, and of how many

    Raises:
        InvalidMessage: the format is none
        MissingExtra: the format needs a package that is not installed
        StoreError: there is no store, it is divided, or it cannot be read

    """
    target = Path(target)
    write = FORMATS.get(kind or _SUFFIXES.get(target.suffix.lower(), ""))
    if write is None:
        raise InvalidMessage(
            f"{kind or target}: give a format, one of {', '.join(FORMATS)}, or a name that says it"
        )
    part = target.with_name(f".{target.name}.part")
    with closing(open_store(store, read_only=True, codec=codec)) as opened:
        if opened.partition is not None:
            raise StoreError(
                f"{store} is a partition of a divided store, and only a store that is not divided "
                f"can be exported"
            )
        wanted = None if objects is None else frozenset(objects)
        with Stage(opened, wanted, after, progress, Registry(domains)) as stage:
            events, count = stage.counts
            try:
                write(stage, part)
                part.replace(target)
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
            missed = pruned_behind(opened, after)
    return Exported(events=events, objects=count, position=stage.last, pruned=missed)
