"""What is done to a divided store as a whole: copies of one moment, and checks between partitions.

A message is in its sender's lane until its target has taken it. So a copy is whole if no target's
cursor is ahead of what its sender's copy has, and none is behind what its sender has let go of.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..coded import AS_STORED
from ..errors import StoreError
from ..layout.frames import number, unframe
from ..layout.keys import LAST, numbered
from ..layout.schema import first_of_row
from ..lmdb.divided_store import mark_divided
from ..lmdb.engine import Snapshot
from ..verify.apart import verify_apart
from ..verify.inspecting import StoreFinding
from .copying import Sizes, compact, copy_snapshot, new_file

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Iterator, Sequence

    from ..lmdb.divided_store import DividedStore
    from ..storage_engine import EngineSnapshot
    from ..store import Store

__all__ = [
    "backup_divided",
    "compact_divided",
    "fitting_snapshots",
    "opened_partitions",
    "verify_divided",
    "verify_lanes",
]

ATTEMPTS = 10_000
"""Snapshots that are taken anew, at most, until all fit together."""


@contextmanager
def opened_partitions(divided: DividedStore) -> Iterator[list[Store]]:
    """All partitions, to be read as they are stored."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(divided.open(one, read_only=True, codec=AS_STORED))
            for one in range(divided.count)
        ]


def backup_divided(
    divided: DividedStore, stores: Sequence[Store], target: str | os.PathLike[str]
) -> None:
    """Copy a divided store, beside its writers or without them.

    Args:
        divided: the store
        stores: its partitions, open here already
        target: the copy's folder, which is missing or empty

    Raises:
        StoreError: the target holds something, or the disk refused; nothing is left there

    """
    folder = Path(target)
    existed = folder.exists()
    if existed and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(
            f"{folder} is not empty: a copy gets a folder of its own, which is missing or empty"
        )
    copy = type(divided)(folder.absolute(), divided.count, divided.family)
    try:
        with fitting_snapshots(stores) as snapshots:
            for place, snapshot in enumerate(snapshots):
                assert isinstance(snapshot, Snapshot)
                with new_file(copy.folder_of(place)) as partial:
                    copy_snapshot(snapshot, partial)
        # Last, since the folder holds no divided store before.
        mark_divided(copy)
    except BaseException:
        for place in range(divided.count):
            shutil.rmtree(copy.folder_of(place), ignore_errors=True)
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def fitting_snapshots(
    stores: Sequence[Store], *, decoded: bool = False
) -> Iterator[list[EngineSnapshot]]:
    """A snapshot of each partition, so that all fit together.

    Args:
        stores: all partitions, in order; their writers may go on
        decoded: whether rows are as their codec decodes them, and not as they are stored

    Raises:
        StoreError: the writers of the partitions are too fast for that

    """
    with ExitStack() as whole:
        stacks = [whole.enter_context(ExitStack()) for _ in stores]
        found: dict[int, EngineSnapshot] = {}
        behind = set(range(len(stores)))
        for _ in range(ATTEMPTS):
            for place in behind:
                stacks[place].close()
                store = stores[place]
                taken = store.snapshot() if decoded else store.stored_snapshot()
                found[place] = stacks[place].enter_context(taken)
            behind = _behind(found)
            if not behind:
                yield [found[place] for place in sorted(found)]
                return
        raise StoreError(
            f"no moment was found in {ATTEMPTS:,} attempts at which all partitions fit together; "
            f"have it copied when less goes from one to another"
        )


def _behind(snapshots: dict[int, EngineSnapshot]) -> set[int]:
    """The partitions whose snapshots are older than what others have taken or let go of."""
    behind = set()
    for target, snapshot in snapshots.items():
        cursors = {
            numbered(key): unframe(raw, "cursors", key) for key, raw in snapshot.scan("cursors")
        }
        for source, other in snapshots.items():
            first, last = _lane(other, target)
            cursor = cursors.get(source, 0)
            if cursor > last:
                behind.add(source)
            elif first - 1 > cursor:
                behind.add(target)
    return behind


def _lane(snapshot: EngineSnapshot, target: int) -> tuple[int, int]:
    """The first and the last sequence of what is there for a partition; 1 and 0 for nothing."""
    prefix = number(target)
    first, raw = next(snapshot.scan("outgoing", prefix), (b"", b""))
    if first[:8] != prefix:
        return 1, 0
    last, _ = next(snapshot.scan("outgoing", prefix + LAST, backwards=True))
    return first_of_row(first, raw), numbered(last)


def compact_divided(divided: DividedStore, target: str | os.PathLike[str] | None = None) -> Sizes:
    """As `compact`, of each partition.

    Raises:
        LockedStore: the store itself is to be compacted, and a partition is open somewhere
        StoreError: as `compact`

    """
    made, before = divided, 0
    if target is not None:
        with opened_partitions(divided) as stores:
            backup_divided(divided, stores, target)
            before = sum(Path(one.location or "", "data.mdb").stat().st_size for one in stores)
        made = type(divided)(Path(target).absolute(), divided.count, divided.family)
    sizes = [compact(made.folder_of(place)) for place in range(divided.count)]
    after = sum(one.after for one in sizes)
    return Sizes(before or sum(one.before for one in sizes), after)


def verify_divided(divided: DividedStore, limit: int) -> tuple[list[StoreFinding], dict[str, int]]:
    """As `verify_apart`, of each partition, and what must hold between them.

    Raises:
        StoreError: one of them cannot be read

    """
    findings: list[StoreFinding] = []
    checked: dict[str, int] = {}
    for place in range(divided.count):
        found, counted = verify_apart(divided.folder_of(place), limit=limit)
        findings += [in_partition(place, one) for one in found]
        for table, count in counted.items():
            checked[table] = checked.get(table, 0) + count
    with opened_partitions(divided) as stores:
        findings += verify_lanes(stores)
    return findings[:limit], checked


def in_partition(place: int, finding: StoreFinding) -> StoreFinding:
    """A finding that says of which partition it is."""
    return finding._replace(problem=f"in partition {place}: {finding.problem}")


def verify_lanes(stores: Sequence[Store], some: Container[int] | None = None) -> list[StoreFinding]:
    """Check that each partition has taken no more than was sent, and that nothing is missing.

    Args:
        stores: all partitions, in order; their writers go on
        some: only the lanes from and to these partitions

    """
    findings = []
    for target, store in enumerate(stores):
        for source, other in enumerate(stores):
            if source == target or not (some is None or target in some or source in some):
                continue
            # In this order: a writer that goes on lets go of what was taken, and sends more.
            first = other.first_sent(target)
            cursor = store.cursor_of(source)
            last = other.last_sent(target)
            problem = ""
            if cursor > last:
                problem = f"took {cursor} messages from partition {source}, which sent {last}"
            elif first - 1 > cursor:
                problem = f"lacks messages {cursor + 1} to {first - 1} of partition {source}"
            if problem:
                finding = StoreFinding("cursors", str(source), problem)
                findings.append(in_partition(target, finding))
    return findings
