"""Runs the load for a time, samples what it holds, and says whether anything grew."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.load import Load
from tests.soak.measuring import BOUNDS, grown, held, pages

PERIODS = 10
SAMPLES = 10

COLUMNS = {
    "period": "period",
    "orders": "orders",
    "events": "events",
    "memory": "memory MB",
    "files": "files",
    "threads": "threads",
    "file": "file MB",
    "live": "live pages",
    "dead": "dead pages",
    "ratio": "dead/live",
    "awake": "awake",
    "passivated": "passivated",
    "retries": "retries",
    "rejected": "rejected",
    "decided": "decided",
    "backups": "backups",
    "pruned": "pruned",
    "reader_memory": "reader MB",
}


@dataclass
class Result:
    rows: list[dict[str, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def soak(
    folder: Path,
    minutes: float,
    pause: float,
    tell: Callable[[dict[str, float]], None],
    *,
    warm: int = 1,
    retention: float | None = None,
) -> Result:
    """Work for so long.

    Args:
        folder: for the store
        minutes: how long; they are divided into periods
        pause: as for `Load`
        tell: called with each row of the table
        retention: as for `Load`; with it, the pages that are in use are not to grow
        warm: after how many periods everything is as large as it is to be

    """
    result = Result()
    threads_before = set(threading.enumerate())
    load = Load(folder, pause, retention)
    samples: dict[str, list[list[float]]] = {bound.what: [] for bound in BOUNDS}
    period = minutes * 60 / PERIODS
    waiting = threading.Event()
    began = time.monotonic()
    try:
        for number in range(PERIODS):
            for values in samples.values():
                values.append([])
            for sample in range(SAMPLES):
                due = began + period * (number + (sample + 1) / SAMPLES)
                waiting.wait(max(0.0, due - time.monotonic()))
                _sample(load, samples)
            row = _row(load, number + 1, samples)
            result.rows.append(row)
            tell(row)
            if load.errors:
                break
    finally:
        findings = load.stop()
    result.wrong += load.errors
    result.wrong += [str(finding) for finding in findings]
    result.wrong += [
        why
        for what, values in samples.items()
        if not (what == "live" and retention is None)
        if (why := grown(what, values[warm - 1 :]))
    ]
    left = set(threading.enumerate()) - threads_before
    if left:
        result.wrong.append(f"threads left after closing: {sorted(one.name for one in left)}")
    return result


def _sample(load: Load, samples: dict[str, list[list[float]]]) -> None:
    mine, reader, made = held(), load.reader_holds(), pages(load.path)
    values = {
        **mine._asdict(),
        "dead": made.dead,
        "live": made.live,
        **{f"reader_{name}": value for name, value in reader._asdict().items()},
    }
    for what, value in values.items():
        samples[what][-1].append(value)


def _row(load: Load, period: int, samples: dict[str, list[list[float]]]) -> dict[str, float]:
    stats, made = load.runtime.stats(), pages(load.path)
    newest = {what: values[-1][-1] for what, values in samples.items()}
    return {
        "period": period,
        "orders": load.orders,
        "events": stats["events"],
        "memory": newest["memory"],
        "files": newest["files"],
        "threads": newest["threads"],
        "file": (load.path / "data.mdb").stat().st_size / (1 << 20),
        "live": made.live,
        "dead": made.dead,
        "ratio": made.ratio,
        "awake": stats["awake"],
        "passivated": stats["passivated"],
        "retries": stats["retries"],
        "rejected": stats["rejected"],
        "decided": load.decisions,
        "backups": load.backups,
        "pruned": stats["pruned_events"],
        "reader_memory": newest["reader_memory"],
    }
