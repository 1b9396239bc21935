"""Disk: bytes of a compacted store, against the bytes of the records in it.

    python -m bench.disk --orders 100000

The three-step order is carried out that often and the runtime closed. The store is compacted into
a new folder, and its file's length divided by the records' bytes: keys and values of every row of
every table, as they were packed. It is fair because nothing is left out of the one or counted twice
in the other: what remains between them is LMDB's pages. The file before compacting, and the sum of
the values alone, are told as well.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from procession.store import compact

from .measure import Figure, program, run
from .rows import rows_of
from .three_step_order import measure as carry_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def measure(folder: Path, orders: int) -> list[Figure]:
    store, target = folder / "store", folder / "compact"
    carry_out(store, orders)
    before, after = compact(store, target)
    by_table: Counter[str] = Counter()
    records = values = 0
    for row in rows_of(target):
        by_table[row.table] += len(row.key) + len(row.value)
        values += len(row.value)
        records += 1
    packed = by_table.total()
    return [
        Figure(
            row=15,
            what="bytes of a compacted store, against those of its records",
            value=round(after / packed, 3),
            unit="times",
            reach=2,
            better="at most",
            details={
                "orders": orders,
                "compact_bytes_per_order": round(after / orders),
                "bytes_per_order_before": round(before / orders),
                "record_bytes_per_order": round(packed / orders),
                "value_bytes_per_order": round(values / orders),
                "records": records,
                "before_against_records": round(before / packed, 3),
                "compact_against_values": round(after / values, 3),
                "bytes_per_order_by_table": {
                    name: round(size / orders) for name, size in by_table.most_common()
                },
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("disk", __doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.orders))


if __name__ == "__main__":
    main()
