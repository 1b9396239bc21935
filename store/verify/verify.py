"""Checks a whole store: every record, and everything that two tables both say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import CorruptRecord, DamagedStore
from ..layout.schema import FORMAT_VERSION, readable
from ..opening import open_store
from .counts import check_counts
from .documents import check_documents
from .erasures import check_erasures
from .events import check_effects, check_events
from .histories import check_histories
from .inspecting import Enough, Inspection, StoreFinding
from .instances import check_instances
from .lanes import check_lanes
from .learnt_keys import check_index
from .unmatched import check_unmatched
from .work import check_work

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from ..coded import PayloadCodec
    from ..store import Store

__all__ = ["LIMIT", "Verification", "verify_open", "verify_path"]

END_OF_TIME = 1 << 63

LIMIT = 10_000
"""Findings after which it is clear enough that a store is damaged."""


class Verification(NamedTuple):
    """What was found, and how many records of each table were looked at."""

    findings: list[StoreFinding]
    checked: Mapping[str, int]


def verify_path(
    path: str | os.PathLike[str],
    *,
    limit: int = LIMIT,
    now: Callable[[], int] | None = None,
    learnt: Iterable[tuple[str, int, str]] = (),
    began: Callable[[str], object] | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    codec: PayloadCodec | None = None,
) -> Verification:
    """As `verify_open`, for a store that is opened here; damage to a file may end this process.

    Raises:
        StoreError: there is no store, or it cannot be opened at all

    """
    try:
        store = open_store(path, read_only=True, codec=codec)
    except CorruptRecord as error:
        # The store cannot be opened without it, so nothing else can be looked at.
        key = readable(error.table, error.key)
        return Verification([StoreFinding(error.table, key, str(error))], {error.table: 1})
    with store:
        return verify_open(
            store, limit=limit, now=now, learnt=learnt, began=began, on_progress=on_progress
        )


def verify_open(
    store: Store,
    *,
    limit: int = LIMIT,
    now: Callable[[], int] | None = None,
    learnt: Iterable[tuple[str, int, str]] = (),
    began: Callable[[str], object] | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Verification:
    """Check a store that is open here already, as it is at one moment.

    Every record is looked at: its checksum and shape, numbers without gaps, and whether what it
    refers to is there, in both directions. Memory does not depend on the size of the store.

    Args:
        store: open for reading or writing; its writer goes on
        limit: most findings; the check ends there
        now: tells the time in microseconds, once the moment is fixed that is looked at: what was
            due before it may have gone. When it is not given, it is when the file was last written
            to, since nothing has gone after that; of a store in memory, all that was due may have
            gone then
        learnt: process, version of its state, and name of each field that is a learnt key
        began: called with the name of each table that is gone through
        on_progress: called now and then with how many rows it went through, and how many there are

    """
    with store.snapshot() as snapshot:
        written = snapshot.last_written
        last = END_OF_TIME if written is None else written
        inspection = Inspection(snapshot, last if now is None else now(), limit, began, on_progress)
        fields = set(learnt)
        try:
            check_events(inspection, FORMAT_VERSION, has_format=store.has_format)
            check_index(inspection, fields)
            check_histories(inspection, fields)
            check_instances(inspection)
            check_work(inspection)
            check_effects(inspection)
            check_unmatched(inspection)
            check_lanes(inspection)
            check_erasures(inspection)
            check_documents(inspection)
            check_counts(inspection)
        except Enough:
            pass
        except DamagedStore as error:
            inspection.findings.append(StoreFinding("store", "", str(error)))
        return Verification(inspection.findings, inspection.checked)
