"""Plots of what `python -m bench` wrote: each as PNG and as SVG beside the results.

    python -m bench.plots

Needs the `bench` extra, which has matplotlib. The same results give the same SVG, byte for byte.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, NullFormatter

from .measure import SERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RESULTS = Path(__file__).parent / "results"
MEBIBYTE = 1 << 20

STYLE = {
    "figure.figsize": (7.5, 4.5),
    "figure.dpi": 120,
    "font.size": 11,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # Without it, SVG has random names inside.
    "svg.hashsalt": "procession",
    "svg.fonttype": "path",
}

# Distinguishable without colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def series_of(results: Mapping[str, Any], row: int) -> tuple[list[str], list[list[float]]] | None:
    """The columns of a figure's series, by name; None if it was not measured."""
    for figure in results["rows"].get(str(row), {}).get("figures", ()):
        series = figure["details"].get(SERIES)
        if series and series["points"]:
            columns = [list(column) for column in zip(*series["points"], strict=True)]
            return series["columns"], columns
    return None


def thousands(value: float, _: object = None) -> str:
    return f"{value:,.0f}"


def below(axes: Any) -> None:
    """The legend, where it covers no line."""
    if axes.get_legend_handles_labels()[1]:
        axes.figure.legend(loc="outside lower center", ncols=2)


def throughput(axes: Any, results: Mapping[str, Any]) -> bool:
    found = series_of(results, 2)
    if found is None:
        return False
    _, (orders, rates, _) = found
    axes.plot(orders, rates, color=COLOURS[0])
    axes.set(xlabel="orders completed so far", ylabel="orders a second", ylim=(0, None))
    axes.set_title("Throughput as orders accumulate")
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))
    axes.yaxis.set_major_formatter(FuncFormatter(thousands))
    return True


def latency(axes: Any, results: Mapping[str, Any]) -> bool:
    lines: list[tuple[str, list[float], list[float]]] = []
    alone = series_of(results, 8)
    if alone is not None:
        _, (percent, asks, commits) = alone
        lines += [
            ("one bare commit", percent, commits),
            ("ask, one caller, nothing else", percent, asks),
        ]
    many = series_of(results, 9)
    if many is not None:
        names, (percent, *times) = many
        for name, time in list(zip(names[1:], times, strict=True))[1:]:
            lines.append((f"ask, {name.split('_', 1)[0]} callers", percent, time))
    for (label, percent, time), colour in zip(lines, COLOURS, strict=False):
        axes.plot([one / 1000 for one in time], percent, label=label, color=colour)
    axes.set(xscale="log", xlabel="time to the reply (ms)", ylabel="share of replies (%)")
    axes.set_title("How long a caller waits for a durable reply")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    below(axes)
    return bool(lines)


def memory(axes: Any, results: Mapping[str, Any]) -> bool:
    lines = [
        ("instances started and left open", series_of(results, 4)),
        ("catching up with a backlog", series_of(results, 5)),
    ]
    drawn = False
    for (label, found), colour in zip(lines, COLOURS, strict=False):
        if found is not None:
            _, (instances, anonymous, _) = found
            axes.plot(instances, [one / MEBIBYTE for one in anonymous], label=label, color=colour)
            drawn = True
    axes.set(xlabel="instances so far", ylabel="memory allocated (MiB)", ylim=(0, None))
    axes.set_title("Memory as instances accumulate")
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))
    below(axes)
    return drawn


def peers(axes: Any, results: Mapping[str, Any]) -> bool:
    rows = [(f"{one['system']}\n{one['store']}", one["orders_per_s"]) for one in results["peers"]]
    rows += [
        ("Procession\nLMDB, fsync", figure["details"]["orders_per_s"])
        for figure in results["rows"].get("1", {}).get("figures", ())
        if "orders_per_s" in figure["details"]
    ]
    if not results["peers"]:
        return False
    rows.sort(key=lambda row: row[1])
    names, rates = zip(*rows, strict=True)
    # Points and no bars, whose lengths would mean nothing on a logarithmic axis.
    axes.plot(rates, names, "o", color=COLOURS[0], markersize=9)
    for name, rate in zip(names, rates, strict=True):
        axes.annotate(
            f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}",
            (rate, name),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set(xscale="log", xlabel="three-step orders a second (logarithmic)")
    axes.set_xlim(1, 4 * max(rates))
    axes.margins(y=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(axis="y", visible=False)
    axes.set_title("The same orders in other libraries, on the same machine")
    return True


PLOTS: dict[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    "throughput": throughput,
    "latency": latency,
    "memory": memory,
    "peers": peers,
}


def draw(folder: Path) -> list[Path]:
    """Draw what there are results for.

    Args:
        folder: has `results.json`; the plots are put beside it

    Returns:
        the files

    """
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    drawn: list[Path] = []
    with mpl.rc_context(STYLE):
        for name, plot in PLOTS.items():
            drawing = Drawing(layout="constrained")
            if plot(drawing.add_subplot(), results):
                for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                    file = folder / f"{name}.{kind}"
                    drawing.savefig(file, metadata=metadata)
                    drawn.append(file)
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to draw in")
    options = parser.parse_args(arguments)
    for file in draw(options.results):
        print(file.name)


if __name__ == "__main__":
    main()
