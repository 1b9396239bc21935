"""All results as one table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .measure import Figure, said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["lines_of"]


def lines_of(results: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the table.

    Args:
        results: as `python -m bench` writes them to `results.json`

    """
    for name, value in results["machine"].items():
        yield f"{name:>12}  {said(value)}"
    yield ""
    if results["quick"]:
        yield "Everything was small: these figures show that the programs work, and no more."
        yield ""
    for row, found in results["rows"].items():
        for one in found["figures"]:
            figure = Figure.from_json(one)
            verdict = "reached" if figure.reaches else "NOT reached"
            value = f"{said(figure.value)} {figure.unit}"
            reach = f"{figure.better} {said(figure.reach)}"
            yield f"{figure.row:>2}  {figure.what:<76} {value:>18}  {reach:<16} {verdict}"
        if "skipped" in found:
            yield f"{row:>2}  skipped: {found['skipped']}"
    for module, error in results["failed"].items():
        yield f"    {module} failed: {error}"
    if results["peers"]:
        yield ""
        yield f"{'the three-step order in':<40} {'store':<24} {'orders':>9} {'orders/s':>10}"
        for peer in results["peers"]:
            system = f"{peer['system']} {peer['version']}"
            rate = said(peer["orders_per_s"])
            yield f"{system:<40} {peer['store']:<24} {said(peer['orders']):>9} {rate:>10}"
