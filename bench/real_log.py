"""A real log: a bank's loan applications replayed, against a bare loop that only appends them.

    python -m bench.real_log

The events of the BPI Challenge 2012 (van Dongen, doi:10.4121/uuid:3926db30-f712-4394-aebc-
75976070e91f) are read into memory first. Then they are published, as the example
`domain_examples.loan_application` does it, and its process manager follows every application to
its end; the time runs until all is settled. The bare loop, one thread with LMDB, writes the same
event rows under the same ids (`tests/bench` compares them), with fsync every 2,048. Events a
second, ours against the bare loop's, are the figure.

It is fair, and hard on us: the bare loop follows no application. What ours does for that, a step
with a transition for each event and the skipping of what came early or late, counts as its time.

The log lies in `../shared/eventlogs`; without it there is nothing to measure, and that is said.
"""

from __future__ import annotations

import itertools
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb
import msgpack

from domain_examples.loan_application.log_file import open_log
from domain_examples.loan_application.process import CATEGORY, bank
from procession import Runtime
from procession.store.layout.frames import number

from .ceiling import Framer
from .feeding import TOGETHER, batched
from .measure import Figure, present, program, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain_examples.loan_application.process import Activity

LOG = Path(__file__).parents[2] / "shared" / "eventlogs" / "bpi2012_loan.csv.gz"
PER_COMMIT = 2_048
TABLES = ("log", "streams", "event_ids")


def stream_of(event: Activity) -> str:
    return f"{CATEGORY}-{event.case}"


def event_id_of(event: Activity) -> str:
    return f"bpi2012-{event.seq}"


def replayed(store: Path, activities: Sequence[Activity]) -> tuple[float, int]:
    """Seconds of ours, and transitions."""
    with Runtime(store, bank) as runtime:
        began = time.perf_counter()
        for together in batched(activities, TOGETHER):
            runtime.publish_many(together, stream=stream_of, event_id=event_id_of)
        runtime.settle()
        return time.perf_counter() - began, runtime.stats()["transitions"]


class BareAppender:
    """Appends events and nothing else: the rows of the log, of streams and of ids."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._env = lmdb.Environment(str(folder), map_size=1 << 33, max_dbs=len(TABLES))
        self._db = [self._env.open_db(name.encode()) for name in TABLES]
        self._frame = Framer().frame
        self._versions: dict[str, int] = {}
        self._position = 0

    def run(self, events: Sequence[tuple[str, dict[str, Any]]]) -> float:
        """Append pairs of a type and the event's fields; returns seconds."""
        began = time.perf_counter()
        for together in batched(events, PER_COMMIT):
            with self._env.begin(write=True) as txn:
                for kind, data in together:
                    self._append(txn, kind, data)
        return time.perf_counter() - began

    def _append(self, txn: lmdb.Transaction[bytes], kind: str, data: dict[str, Any]) -> None:
        log, streams, ids = self._db
        stream = f"{CATEGORY}-{data['case']}"
        event_id = f"bpi2012-{data['seq']}"
        self._position += 1
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        row = [
            f"bank.{kind}.v1",
            stream,
            version,
            time.time_ns() // 1000,
            msgpack.packb(data),
            event_id,
            event_id,
            None,
            None,
            0,
        ]
        key = number(self._position)
        txn.put(key, self._frame(key, row), db=log, append=True)
        key = stream.encode() + b"\0" + number(version)
        txn.put(key, self._frame(key, self._position), db=streams)
        key = event_id.encode()
        txn.put(key, self._frame(key, self._position), db=ids)

    def close(self) -> None:
        self._env.close()


def plain(activity: Activity) -> tuple[str, dict[str, Any]]:
    """An event as the bare loop takes it: a type and a dictionary."""
    data = {
        "seq": activity.seq,
        "time": activity.time.isoformat(),
        "case": activity.case,
        "activity": activity.activity,
        "lifecycle": activity.lifecycle,
        "resource": activity.resource,
        "amount_requested": activity.amount_requested,
    }
    return type(activity).__name__, data


def measure(folder: Path, log: Path, events: int | None) -> list[Figure]:
    with open_log(str(log)) as rows:
        activities = list(itertools.islice(rows, events))
    # One of the two has gone before the other is made, so that neither is slowed by it.
    dictionaries = [plain(activity) for activity in activities]
    with closing(BareAppender(folder / "bare")) as bare:
        bare_seconds = bare.run(dictionaries)
    del dictionaries
    seconds, transitions = replayed(folder / "store", activities)
    return [
        Figure(
            row=12,
            what="events a second of a real log, against a bare loop that appends them",
            value=round(bare_seconds / seconds, 3),
            unit="times",
            reach=0.4,
            better="at least",
            details={
                "events": len(activities),
                "transitions": transitions,
                "events_per_s": round(len(activities) / seconds),
                "bare_events_per_s": round(len(activities) / bare_seconds),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("real_log", __doc__)
    parser.add_argument("--log", type=Path, default=LOG, help="a gzip CSV file")
    parser.add_argument("--events", type=int, help="only so many from its beginning")
    options = parser.parse_args(arguments)
    if not options.log.exists():
        present([], as_json=options.json, skipped="the log is not there")
        return
    run(options, lambda folder: measure(folder, options.log, options.events))


if __name__ == "__main__":
    main()
