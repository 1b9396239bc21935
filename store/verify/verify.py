"""Checks a whole store: every record, and everything that two tables both say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from ..errors import CorruptRecord
from ..lmdb.environment import DATA_FILE
from ..lmdb.store import FORMAT_VERSION, LmdbStore
from .events import check_events
from .inspecting import Enough, Inspection, StoreFinding
from .instances import check_instances
from .work import check_work

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

__all__ = ["Verification", "verify", "verify_open", "verify_path"]

LIMIT = 10_000
"""Findings after which it is clear enough that a store is damaged."""


class Verification(NamedTuple):
    """What was found, and how many records of each table were looked at."""

    findings: list[StoreFinding]
    checked: Mapping[str, int]


def verify(path: str | os.PathLike[str], *, limit: int = LIMIT) -> list[StoreFinding]:
    """Check a store as it is at one moment, beside its writer or without one.

    Every record is looked at: its checksum and shape, numbers without gaps, and whether what it
    refers to is there, in both directions. Memory does not depend on the size of the store.

    Args:
        path: the store's folder
        limit: most findings; the check ends there

    Returns:
        all that is wrong; nothing in a sound store

    Raises:
        StoreError: there is no store, or it cannot be opened at all

    """
    return verify_path(path, limit=limit).findings


def verify_path(path: str | os.PathLike[str], *, limit: int = LIMIT) -> Verification:
    """As `verify`, and tells how much was checked."""
    try:
        store = LmdbStore(path, read_only=True)
    except CorruptRecord as error:
        # The only record that is read at opening.
        return Verification([StoreFinding("meta", "format", str(error))], {"meta": 1})
    with store:
        return verify_open(store, limit=limit)


def verify_open(
    store: LmdbStore,
    *,
    limit: int = LIMIT,
    now: int | None = None,
    learnt: Iterable[tuple[str, int, str]] = (),
) -> Verification:
    """As `verify`, for a store that is open here already.

    Args:
        store: open for reading or writing; its writer goes on
        limit: most findings
        now: the time in microseconds: what was due before it may have gone. When it is not
            given, it is when the file was last written to, since nothing has gone after that
        learnt: process, version of its state, and name of each field that is a learnt key

    """
    with store.snapshot() as snapshot:
        if now is None:
            now = Path(snapshot.env.path(), DATA_FILE).stat().st_mtime_ns // 1000
        inspection = Inspection(snapshot, now, limit)
        try:
            check_events(inspection, FORMAT_VERSION)
            check_instances(inspection, set(learnt))
            check_work(inspection)
        except Enough:
            pass
        except lmdb.Error as error:
            inspection.findings.append(
                StoreFinding("data.mdb", "", f"LMDB cannot read on: {error}")
            )
        return Verification(inspection.findings, inspection.checked)
