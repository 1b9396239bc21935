"""A figure: what was measured, what it is held against, and how it is printed.

Every program of this folder prints its figures with what is here: as text for people, or with
`--json` as one JSON object, `{"figures": [...]}`. A figure is a ratio, or a count for each
something, taken in one run, so that it means the same on any machine.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Figure", "percentile", "present", "program", "run", "said"]

SERIES = "series"
"""The detail that plots are drawn from; too long to be printed as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value beside the value it should reach.

    Attributes:
        row: its number in the table of all figures
        what: its name
        value: what was measured
        unit: of the value and of the reach
        reach: what the value should come to
        better: on which side of the reach the value should be
        details: what else was measured on the way; `series` holds points for plots

    """

    row: int
    what: str
    value: float
    unit: str
    reach: float
    better: Literal["at least", "at most"]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reaches(self) -> bool:
        """Whether the value is where it should be; one that is no number is not."""
        if self.better == "at least":
            return self.value >= self.reach
        return self.value <= self.reach

    def as_json(self) -> dict[str, Any]:
        """What JSON can hold, with whether it reaches."""
        return {
            "row": self.row,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "reach": self.reach,
            "better": self.better,
            "reaches": self.reaches,
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Figure:
        """What `as_json` made."""
        return cls(**{name: value for name, value in found.items() if name != "reaches"})


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least so many percent of the values do not exceed.

    Args:
        values: in any order, at least one
        share: from 0 to 100

    """
    if not values:
        raise ValueError("a percentile of no values; measure at least one")
    return sorted(values)[max(0, math.ceil(len(values) * share / 100) - 1)]


def said(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {said(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(said(one) for one in value)
    return str(value)


def present(figures: Sequence[Figure], *, as_json: bool, **more: Any) -> None:
    """Print figures, and whatever else a program has to say, to stdout."""
    if as_json:
        print(json.dumps({**more, "figures": [figure.as_json() for figure in figures]}))
        return
    for name, value in more.items():
        print(f"{name:>28}  {said(value)}")
    for figure in figures:
        verdict = "reached" if figure.reaches else "NOT reached"
        print(f"{figure.what}: {said(figure.value)} {figure.unit}")
        print(f"{figure.better:>28}  {said(figure.reach)} {figure.unit}: {verdict}")
        for name, value in figure.details.items():
            if name != SERIES:
                print(f"{name:>28}  {said(value)}")


def program(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The command line that all programs share."""
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--folder", help="where to put the stores; a temporary one by default")
    return parser


def run(options: argparse.Namespace, measure: Callable[[Path], Sequence[Figure]]) -> None:
    """Measure in a folder that goes away afterwards, and print the figures."""
    with tempfile.TemporaryDirectory(prefix="procession-bench-", dir=options.folder) as folder:
        figures = measure(Path(folder))
    present(figures, as_json=options.json)
