"""A file of history into a store: read and checked as a whole, then handled in order of time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import SystemClock
from ..engine.ingress import Ingress
from ..errors import UnreadableRow
from ..messages.codec import codecs
from ..messages.content import digest_of
from ..model.registry import Registry
from ..store import EventRecord, ProcessionError
from .backtest import PAGE, Backtest
from .dividing import DividedImport
from .in_order import InOrder
from .mapping import EXPORTED, LogMapping, Reading, read_mapping
from .rows import rows_of
from .source import SourceProgress, digest_of_row, mark_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from datetime import datetime

    from ..model.domain import Domain
    from ..store import Durability, PayloadCodec, SourceMark
    from .mapping import Prepared

__all__ = ["Imported", "import_file"]

EVERY = 1_024
"""Rows after which it is told how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of an import.

    Attributes:
        rows: of the file
        left_out: rows that the mapping leaves out
        events: that were stored
        known: that an earlier import had stored under the same ids
        transitions: that instances made
        parked: what could not be handled, and waits for a person
        until: the time at which the store stands
        is_live: whether a service can open it

    """

    rows: int
    left_out: int
    events: int
    known: int
    transitions: int
    parked: int
    until: datetime
    is_live: bool


def import_file(
    path: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *domains: Domain,
    mapping: LogMapping | str | os.PathLike[str] | None = None,
    kind: str | None = None,
    until: datetime | None = None,
    live_from: datetime | None = None,
    partitions: int | None = None,
    durability: Durability = "fsync",
    codec: PayloadCodec | None = None,
    progress: Callable[[str, int, int | None], object] = lambda *_: None,
) -> Imported:
    """Import a log: each event at its own time, with all that was due in between.

    All rows are checked before anything is stored. It may be cut off at any moment: the same call
    goes on behind what is stored, as long as the file begins with the same rows. Rows may come in
    any order; those of one time stay in theirs.

    Args:
        path: of the file
        store: the folder or the address of a store, as for `Backtest`
        domains: whose classes to run
        mapping: which row is which event, or the path of the TOML file that says so; without it,
            the file is one that `export` wrote
        kind: the format of the file; without it, its name says it
        until: with a zone; time goes on to here behind the last event
        live_from: with a zone; a service can open the store then, and what is of this time or later
            leaves, as with `Backtest.go_live`
        partitions: with `live_from`; the store becomes a divided one of so many when it goes live.
            It is a folder then, beside which there is one with `.importing` behind its name until
            all is done
        durability: as for `Runtime`
        codec: as for `Runtime`
        progress: called now and then with what is done, how much of it is, and of how much

    Raises:
        DefinitionError: the mapping cannot be read, or does not fit the classes
        UnreadableRow: a row cannot be read, or is no event; nothing was stored
        StoreError: as for `Backtest`

    """
    path = Path(path)
    if mapping is None:
        mapping = EXPORTED
    elif not isinstance(mapping, LogMapping):
        mapping = read_mapping(Path(mapping))
    registry = Registry(domains)
    # Nothing is stored by it, so it needs no store's secret.
    reading = Reading(mapping, registry, Ingress(registry, SystemClock(), b""), path.name)
    if partitions is not None:
        divided = DividedImport(store, partitions, live_from)
        found = _import(
            path, divided.history, domains, reading, kind, until, None, durability, codec, progress
        )
        counts, now = divided.finish(*domains, codec=codec, progress=progress)
        return replace(
            found,
            transitions=found.transitions + counts.transitions,
            parked=found.parked + counts.parked,
            until=now,
            is_live=True,
        )
    return _import(
        path, store, domains, reading, kind, until, live_from, durability, codec, progress
    )


def _import(
    path: Path,
    store: str | os.PathLike[str],
    domains: tuple[Domain, ...],
    reading: Reading,
    kind: str | None,
    until: datetime | None,
    live_from: datetime | None,
    durability: Durability,
    codec: PayloadCodec | None,
    progress: Callable[[str, int, int | None], object],
) -> Imported:
    registry = reading.registry
    with ExitStack() as kept:
        log, source, rows = _read(kept, path, kind, reading, mark_of(store, codec), progress)
        if not source.is_right:
            # It is another file by now, or a row came in between: each is told by its id.
            log, source, rows = _read(kept, path, kind, reading, None, progress)
        with Backtest(store, *domains, durability=durability, codec=codec) as backtest:
            backtest.source = source
            left, number = iter(log), 0
            while page := list(islice(left, PAGE)):
                records = [_record(registry, one, backtest.secret) for one in page]
                backtest.gather(records)
                for one, record in zip(page, records, strict=True):
                    _bring(backtest, record, one, path)
                    source.note(one)
                    backtest.commit_if_due()
                    number += 1
                    if not number % EVERY:
                        progress("importing", number, log.count)
            if until is not None:
                backtest.let_pass(until)
            if live_from is not None:
                backtest.go_live(live_from)
            counts, now = backtest.counts, backtest.now
    return Imported(
        rows=rows,
        left_out=rows - log.count - source.passed_over,
        events=counts.events,
        known=counts.known + source.passed_over,
        transitions=counts.transitions,
        parked=counts.parked,
        until=now,
        is_live=live_from is not None,
    )


def _read(
    kept: ExitStack,
    path: Path,
    kind: str | None,
    reading: Reading,
    mark: SourceMark | None,
    progress: Callable[[str, int, int | None], object],
) -> tuple[InOrder, SourceProgress, int]:
    """All rows that are not in the store, checked; and how many rows there are.

    Raises:
        UnreadableRow: one cannot be read, or is no event

    """
    log, source, rows = kept.enter_context(InOrder()), SourceProgress(reading.said, mark), 0
    for rows, row in rows_of(path, kind):
        try:
            placed = reading.placed(rows, row)
            digest = digest_of_row(row)
            if placed is not None and not source.has(placed, digest):
                log.add(reading.prepared(placed, row, digest))
        except (ProcessionError, ValueError) as error:
            raise UnreadableRow(f"{path}: row {rows}: {error}") from error
        if not rows % EVERY:
            progress("checking", rows, None)
    if not source.passed_over:
        # Rows that were passed over were looked at when they were imported.
        try:
            reading.refuse_unseen()
        except ProcessionError as error:
            raise UnreadableRow(f"{path}: {error}") from error
    return log, source, rows


def _record(registry: Registry, one: Prepared, secret: bytes) -> EventRecord:
    """A row as `Backtest.bring` takes it."""
    record = EventRecord(
        one.type,
        one.stream,
        0,
        0,
        one.data,
        one.event_id,
        one.correlation_id,
        one.causation_id,
        one.headers,
    )
    message = registry.load_event(record)
    if codecs[type(message)].is_immutable:
        record.message = message
    record.digest = digest_of(secret, one.type, message, one.stream)
    return record


def _bring(backtest: Backtest, record: EventRecord, one: Prepared, path: Path) -> None:
    try:
        backtest.bring(record, one.time)
    except ValueError as error:
        raise UnreadableRow(f"{path}: row {one.row}: {error}") from error
