"""What is done to a store as a file, and a search. None of it needs the extra `control` here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..clock import nanoseconds
from ..store import (
    AS_STORED,
    FORMAT_VERSION,
    LastBackup,
    LockedStore,
    ProcessionError,
    StoreError,
    backup,
    backup_divided,
    compact,
    compact_divided,
    copy,
    divided_at,
    is_address,
    located,
    open_store,
    opened_partitions,
    upgrade,
    verify_apart,
    verify_divided,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..store import PayloadCodec

__all__ = ["Done", "copied", "explored", "made_small", "moved", "shown", "upgraded", "verified"]


class Done(NamedTuple):
    """What came of it.

    Attributes:
        lines: for people
        data: the same for programs
        status: what the process ends with

    """

    lines: list[str]
    data: dict[str, Any]
    status: int = 0


def shown(path: str) -> str:
    """A store's place, without a password."""
    return str(located(path)) if is_address(path) else path


def verified(
    path: str,
    limit: int,
    on_progress: Callable[[int, int], object] | None = None,
    codec: PayloadCodec | None = None,
) -> Done:
    """Check all that is in a store."""
    divided = divided_at(path)
    if divided is None:
        findings, checked = verify_apart(path, limit=limit, on_progress=on_progress, codec=codec)
    else:
        findings, checked = verify_divided(divided, limit)
    records, tables = sum(checked.values()), sum(1 for count in checked.values() if count)
    said = (
        f"{shown(path)}: {records:,} records in {tables} tables checked, "
        f"{len(findings):,} finding{'s' * (len(findings) != 1)}"
    )
    data = {"records": records, "tables": tables, "findings": [str(one) for one in findings]}
    return Done([*map(str, findings), said], data, 1 if findings else 0)


def copied(path: str, target: str) -> Done:
    """Copy a store, beside its writer or without one, and have the store know of it."""
    began = nanoseconds()
    divided = divided_at(path)
    if divided is not None:
        with opened_partitions(divided) as stores:
            backup_divided(divided, stores, target)
        return Done([f"{target}: copied from {path}"], {"path": path, "target": target})
    backup(path, target)
    lines = [f"{target}: copied from {shown(path)}"]
    problem = _note(path, target, began)
    if problem is not None:
        lines.append(f"the copy is whole; that there is one could not be noted: {problem}")
    return Done(lines, {"path": shown(path), "target": target, "noted": problem is None})


def moved(
    path: str,
    target: str,
    on_progress: Callable[[int, int], object] | None = None,
    *,
    partitions: int = 1,
    projections_anew: bool = False,
    codec: PayloadCodec | None = None,
) -> Done:
    """Copy a store that no process has open to another place, where services are to go on."""
    began = nanoseconds()
    rows, before = copy(
        path,
        target,
        partitions=partitions,
        projections_anew=projections_anew,
        codec=codec,
        on_progress=on_progress,
    )
    seconds = (nanoseconds() - began) / 1e9
    earlier = f", {before:,} of them earlier" if before else ""
    how = "and each compared" if partitions == 1 else f"{partitions} partitions, and verified"
    said = (
        f"{shown(target)}: {rows:,} rows copied from {shown(path)}{earlier}, {how}, "
        f"in {seconds:.1f} s"
    )
    data = {
        "path": shown(path),
        "target": shown(target),
        "rows": rows,
        "before": before,
        "partitions": partitions,
    }
    return Done([said, f"{shown(path)} is as it was: have no service go on with both"], data)


def _note(path: str, target: str, began: int) -> str | None:
    """Note a copy in the store if no process has it open, and else by its service.

    Args:
        path: the store's folder
        target: the copy's
        began: when the copying did, in nanoseconds

    Returns:
        why that could not be; None if it was

    """
    try:
        with open_store(path, codec=AS_STORED) as store:
            store.note_backup(LastBackup.at(target, began // 1_000))
    except LockedStore:
        return _note_by_service(path, target, began)
    except StoreError as error:
        return str(error)
    return None


def _note_by_service(path: str, target: str, began: int) -> str | None:
    from ..control.calls import NoteBackup  # noqa: PLC0415 - only where there is a service
    from ..control.client import connect  # noqa: PLC0415 - as above

    seconds = max(0, nanoseconds() - began) / 1_000_000_000
    try:
        with connect(path) as client:
            if not client.is_service:
                return "the process that has the store open answers at no socket"
            client.one(NoteBackup(target=str(Path(target).absolute()), seconds=seconds))
    except ProcessionError as error:
        return str(error)
    return None


def made_small(path: str, target: str | None) -> Done:
    """Write a store anew, as small as can be."""
    divided = divided_at(path)
    sizes = compact(path, target) if divided is None else compact_divided(divided, target)
    before, after = sizes
    where = target or path
    said = f"{where}: {after:,} bytes, and {before:,} before"
    return Done([said], {"path": where, "bytes": after, "bytes_before": before})


def upgraded(path: str) -> Done:
    """Turn a store into one of this version's format."""
    divided = divided_at(path)
    folders = [path] if divided is None else map(divided.folder_of, range(divided.count))
    did = sum(upgrade(one) for one in folders) > 0
    said = f"{path}: has format {FORMAT_VERSION} {'now' if did else 'already'}"
    return Done([said], {"path": path, "format": FORMAT_VERSION, "upgraded": did})


def explored(
    program: str,
    *,
    minutes: float,
    seed: int,
    domains: Sequence[str],
    store: str | None,
    corpus: str | None,
    pin: str | None,
    as_json: bool = False,
) -> int:
    """Search for a run that goes wrong; returns what the process ends with.

    What people are told on the way goes to the error output where the answer is for a program.
    """
    from ..testing.explore.command import run_explore  # noqa: PLC0415 - only for those who search

    output = sys.stderr if as_json else sys.stdout

    def say(line: str) -> None:
        output.write(f"{line}\n")
        output.flush()

    searched = run_explore(
        program,
        say,
        minutes=minutes,
        seed=seed,
        domains=domains,
        store=store,
        corpus=corpus,
        pin=pin,
    )
    if as_json:
        sys.stdout.write(f"{json.dumps(searched.data)}\n")
    return searched.status
