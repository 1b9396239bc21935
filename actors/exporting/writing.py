"""A store as one file: which format, what goes into it, and the file only when it is whole."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidMessage
from ..model.registry import Registry
from ..queries.log_end import place_of, text_of
from ..queries.pruned import pruned_behind
from ..store import StoreError, divided_store, open_store
from . import flat, ocel, xes
from .stage import Stage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from ..model.domain import Domain
    from ..store import PayloadCodec, Store

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
        position: that of the newest event of the store, or a text that says one for each partition
            of a divided store; `after` of the next export
        pruned: the newest position behind `after` of which the event was pruned, in any partition;
            0 if none was

    """

    events: int
    objects: int
    position: int | str
    pruned: int = 0


def export(
    store: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *domains: Domain,
    kind: str | None = None,
    objects: Iterable[str] | None = None,
    after: int | str | Mapping[int, int] = 0,
    codec: PayloadCodec | None = None,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> Exported:
    """Write what a store holds as a file, beside its service or without one.

    Args:
        store: its folder or its address; the events of a divided store are in the order of time,
            then of partitions, and say their partition
        target: the file, which is replaced when the new one is whole
        domains: whose fields that are marked as personal are masked; without them none is
        kind: one of `FORMATS`; without it, the name of the file says it
        objects: the only types of objects: categories of streams, and process managers; events
            that have to do with none of them are left out
        after: only events behind this position; of a divided store, the `position` of an earlier
            export, or positions by partition
        codec: of a store that has one; what it encodes is in plain words in the file
        progress: called now and then with how many events were looked at, and of how many

    Raises:
        InvalidMessage: the format is none, or `after` is no position of this store
        MissingExtra: the format needs a package that is not installed
        StoreError: there is no store, it is one partition of one, or it cannot be read

    """
    target = Path(target)
    write = FORMATS.get(kind or _SUFFIXES.get(target.suffix.lower(), ""))
    if write is None:
        raise InvalidMessage(
            f"{kind or target}: give a format, one of {', '.join(FORMATS)}, or a name that says it"
        )
    part = target.with_name(f".{target.name}.part")
    with ExitStack() as stack:
        stores, is_divided = _opened(store, codec, stack)
        behind = _positions(after, len(stores), is_divided=is_divided)
        wanted = None if objects is None else frozenset(objects)
        with Stage(stores, wanted, behind, progress, Registry(domains)) as stage:
            events, count = stage.counts
            try:
                write(stage, part)
                part.replace(target)
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
            missed = max(map(pruned_behind, stores, behind))
    position: int | str = stage.last[0]
    if is_divided:
        position = text_of({("event", number): last for number, last in enumerate(stage.last)})
    return Exported(events=events, objects=count, position=position, pruned=missed)


def _opened(
    store: str | os.PathLike[str], codec: PayloadCodec | None, stack: ExitStack
) -> tuple[list[Store], bool]:
    """The store, or all its partitions; and whether it is divided."""
    divided = divided_store(store)
    if divided is not None:
        numbers = range(divided.count)
        parts = (divided.open(one, read_only=True, codec=codec) for one in numbers)
        return [stack.enter_context(one) for one in parts], True
    opened = stack.enter_context(open_store(store, read_only=True, codec=codec))
    if opened.partition is not None:
        raise StoreError(
            f"{store} is one partition of a divided store; export the whole store, from the folder "
            f"that has all of them"
        )
    return [opened], False


def _positions(
    after: int | str | Mapping[int, int], partitions: int, *, is_divided: bool
) -> list[int]:
    """Behind which position of each partition it begins."""
    if isinstance(after, int) and (not is_divided or not after):
        return [after] * partitions
    if not is_divided or isinstance(after, int):
        raise InvalidMessage(
            f"after={after}: give the position of one export to the next one of the same store: a "
            f"divided store has one for each partition"
        )
    if isinstance(after, str):
        return [position for _, position in sorted(place_of(after, {"event"}, partitions).items())]
    if not after.keys() <= set(range(partitions)):
        raise InvalidMessage(f"after={after}: there are partitions from 0 to {partitions - 1}")
    return [after.get(number, 0) for number in range(partitions)]
