"""Puts the figures of `bench/results/results.json` into `docs/performance.md`.

    python -m bench.page

The page's words are written by hand; what stands between two marks, `<!-- name -->` and
`<!-- end -->`, is made from the results, so that no figure is copied by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .measure import Figure, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
RESULTS = HERE / "results" / "results.json"


def machine(results: Mapping[str, Any]) -> Iterator[str]:
    for name, value in results["machine"].items():
        yield f"- {name.replace('_', ' ')}: {said(value)}"
    # Rows that were not measured again with the rest.
    older: dict[str, list[str]] = {}
    for row, found in results["rows"].items():
        commit = found.get("commit", "")
        if commit != results["machine"]["commit"]:
            older.setdefault(commit, []).append(row)
    for commit, rows in older.items():
        yield f"- commit of rows {', '.join(rows)}: {commit}"


def figures(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| # | figure | measured | reach | |"
    yield "| --- | --- | --- | --- | --- |"
    for row, found in results["rows"].items():
        for one in found["figures"]:
            figure = Figure.from_json(one)
            verdict = "reached" if figure.reaches else "**not reached**"
            yield (
                f"| {row} | {figure.what} | {said(figure.value)} {figure.unit} "
                f"| {figure.better} {said(figure.reach)} | {verdict} |"
            )
        if "skipped" in found:
            yield f"| {row} | skipped: {found['skipped']} | | | |"


def details(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| # | what else was measured in the same run |"
    yield "| --- | --- |"
    for row, found in results["rows"].items():
        for one in found["figures"]:
            told = [
                f"{name.replace('_', ' ')} {said(value)}"
                for name, value in one["details"].items()
                if name != "series"
            ]
            yield f"| {row} | {'; '.join(told)} |"


def peers(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| system | store | orders | orders/s | ours is |"
    yield "| --- | --- | --- | --- | --- |"
    ours = results["ours"]
    yield f"| Procession | LMDB, fsync | {said(ours['orders'])} | {said(ours['orders_per_s'])} | |"
    for alone in _alone(results):
        yield f"| Procession, orders that come one by one | LMDB, fsync | 1 | {said(alone)} | |"
    there = results.get("ours_on_postgresql")
    if there is not None:
        # The ratio of a peer on PostgreSQL is to this.
        rate = said(there["orders_per_s"])
        yield f"| Procession | PostgreSQL | {said(there['orders'])} | {rate} | |"
    for one in results["peers"]:
        yield (
            f"| {one['system']} {one['version']} | {one['store']} | {said(one['orders'])} "
            f"| {said(one['orders_per_s'])} | {said(one['ratio_of_ours'])} times |"
        )


def _alone(results: Mapping[str, Any]) -> Iterator[int]:
    """Orders a second when each comes when the one before is complete, if that was measured."""
    for figure in results.get("rows", {}).get("22", {}).get("figures", ()):
        if "order_ms" in figure["details"]:
            yield round(1_000 / figure["details"]["order_ms"])
            return


def steps(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| µs | part |"
    yield "| --- | --- |"
    parts: dict[str, float] = results["microseconds"]
    for part, microseconds in parts.items():
        yield f"| {microseconds:.1f} | {part} |"
    yield f"| {sum(parts.values()):.1f} | together |"


SECTIONS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "machine": machine,
    "figures": figures,
    "details": details,
    "peers": peers,
    "steps": steps,
}


def filled(page: str, results: Mapping[str, Any]) -> str:
    """The page with the figures between its marks."""

    def section(match: re.Match[str]) -> str:
        lines = "\n".join(SECTIONS[match[1]](results))
        return f"<!-- {match[1]} -->\n\n{lines}\n\n<!-- end -->"

    names = "|".join(SECTIONS)
    return re.sub(rf"<!-- ({names}) -->.*?<!-- end -->", section, page, flags=re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    results = json.loads(options.results.read_text(encoding="utf-8"))
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(filled(page, results), encoding="utf-8")


if __name__ == "__main__":
    main()
