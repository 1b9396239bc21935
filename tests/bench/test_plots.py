"""The plots: drawn from what there is, and the same each time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib", reason="matplotlib is in the bench extra")

from bench.plots import draw


def series(columns: list[str], *points: tuple[float, ...]) -> dict[str, Any]:
    return {"figures": [{"details": {"series": {"columns": columns, "points": points}}}]}


RESULTS: dict[str, Any] = {
    "rows": {
        "1": {"figures": [{"details": {"orders_per_s": 6_000}}]},
        "2": series(["orders", "orders_per_s", "anonymous_bytes"], (10, 5, 7), (20, 6, 7)),
        "4": series(["instances", "anonymous_bytes", "mapped_bytes"], (10, 5, 7), (20, 6, 7)),
        "5": series(["steps", "anonymous_bytes", "mapped_bytes"], (10, 5, 7), (20, 6, 7)),
        "8": series(["percent", "ask_us", "commit_us"], (1, 5, 7), (99, 6, 8)),
        "9": series(["percent", "1_threads_us", "8_threads_us"], (1, 5, 7), (99, 6, 8)),
    },
    "peers": [{"system": "other", "store": "memory", "orders_per_s": 7.5}],
}


def drawn(folder: Path, results: dict[str, Any]) -> dict[str, bytes]:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return {file.name: file.read_bytes() for file in draw(folder)}


def test_each_plot_is_a_png_and_an_svg_and_the_same_each_time(tmp_path: Path) -> None:
    first = drawn(tmp_path / "first", RESULTS)
    assert set(first) == {
        f"{name}.{kind}"
        for name in ("throughput", "latency", "memory", "peers")
        for kind in ("png", "svg")
    }
    assert first == drawn(tmp_path / "second", RESULTS)
    assert b"<svg" in first["memory.svg"]
    assert b"<dc:date>" not in first["memory.svg"]


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    assert drawn(tmp_path / "none", {"rows": {}, "peers": []}) == {}
