"""What a divided store has of each partition, so short that a page of many partitions is read."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..control.plain import Plain

__all__ = ["Problems", "folded_projections", "foremost", "problems_by_name"]

MOST_TOLD = 3
"""Partitions with the same problem of which each is told."""


class Problems(NamedTuple):
    """The problems of one name.

    Attributes:
        told: the first of them
        more: in how many partitions there are others

    """

    told: list[Plain]
    more: int


def problems_by_name(problems: Iterable[Plain]) -> list[Problems]:
    """The problems of all partitions, of each name a few."""
    names = groupby(sorted(problems, key=lambda one: one["name"]), key=lambda one: one["name"])
    found = [list(same) for _, same in names]
    return [Problems(same[:MOST_TOLD], len(same[MOST_TOLD:])) for same in found]


def folded_projections(rows: Iterable[Plain]) -> list[Plain]:
    """One row for each projection: sums over all partitions, the oldest event, and a problem.

    Args:
        rows: as `projections` tells them, one for each partition

    """
    found: dict[str, Plain] = {}
    for row in rows:
        whole = found.get(row["projection"])
        if whole is None:
            found[row["projection"]] = row.copy()
            continue
        for name in ("position", "backlog", "streams_held"):
            whole[name] += row[name]
        whole["oldest"] = min(filter(None, (whole["oldest"], row["oldest"])), default=None)
        whole["problem"] = whole["problem"] or row["problem"]
    return list(found.values())


def foremost(rows: Sequence[Plain], most: int) -> list[Plain]:
    """The partitions with problems and those that are behind most, in order of their numbers.

    Args:
        rows: as `partitions` tells them, each with its problems
        most: of them

    """
    behind = sorted(
        rows,
        key=lambda row: (not row["problems"], -row["backlog"] - row["lane_backlog"], row["number"]),
    )
    return sorted(behind[:most], key=lambda row: int(row["number"]))
