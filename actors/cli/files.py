"""What is done to a store as a file, and a search. Nothing here needs the extra `control`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ..store import (
    FORMAT_VERSION,
    backup,
    backup_divided,
    compact,
    compact_divided,
    divided_at,
    opened_partitions,
    upgrade,
    verify_apart,
    verify_divided,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Done", "copied", "explored", "made_small", "upgraded", "verified"]


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


def verified(path: str, limit: int) -> Done:
    """Check all that is in a store."""
    divided = divided_at(path)
    if divided is None:
        findings, checked = verify_apart(path, limit=limit)
    else:
        findings, checked = verify_divided(divided, limit)
    records, tables = sum(checked.values()), sum(1 for count in checked.values() if count)
    said = (
        f"{path}: {records:,} records in {tables} tables checked, "
        f"{len(findings):,} finding{'s' * (len(findings) != 1)}"
    )
    data = {"records": records, "tables": tables, "findings": [str(one) for one in findings]}
    return Done([*map(str, findings), said], data, 1 if findings else 0)


def copied(path: str, target: str) -> Done:
    """Copy a store, beside its writer or without one."""
    divided = divided_at(path)
    if divided is None:
        backup(path, target)
    else:
        with opened_partitions(divided) as stores:
            backup_divided(divided, stores, target)
    return Done([f"{target}: copied from {path}"], {"path": path, "target": target})


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
    corpus: str | None,
    pin: str | None,
) -> int:
    """Search for a run that goes wrong; returns what the process ends with."""
    from ..testing.explore.command import run_explore  # noqa: PLC0415 - only for those who search

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    return run_explore(
        program, say, minutes=minutes, seed=seed, domains=domains, corpus=corpus, pin=pin
    )
