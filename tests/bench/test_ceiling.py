"""The bare loop writes what the runtime writes, or comparing the two would mean nothing.

It stays as it was, and the tables of the store do not: so the same records must be there, wherever
they are found by which key, and no more bytes than the runtime writes.
"""

from collections import Counter
from decimal import Decimal
from pathlib import Path

from bench.ceiling import TABLES, BareLoop
from bench.rows import rows_of
from bench.workload import PlaceOrder, shop
from procession import Runtime

ORDERS = 40


def sizes(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Rows and bytes by table."""
    rows: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for row in rows_of(folder):
        rows[row.table] += 1
        size[row.table] += len(row.key) + len(row.value)
    return rows, size


def test_the_bare_loop_writes_the_records_of_the_runtime_and_no_more_bytes(
    tmp_path: Path,
) -> None:
    loop = BareLoop(tmp_path / "loop")
    loop.run(ORDERS)
    loop.close()
    with Runtime(tmp_path / "store", shop) as runtime:
        runtime.tell_many([PlaceOrder(f"o{n:07d}", "c1", Decimal(99)) for n in range(ORDERS)])
        runtime.settle(timeout=10)
    (bare, bare_size), (real, real_size) = sizes(tmp_path / "loop"), sizes(tmp_path / "store")
    assert set(bare) == {*TABLES} - {"queue"}
    assert bare["command_ids"] == real["command_ids"]
    # The runtime also keeps what an id stands for.
    assert bare_size["command_ids"] <= real_size["command_ids"]
    for table in ("log", "transitions"):
        assert bare[table] == real[table], table
        # Numbers of more or fewer digits take a byte more or less.
        assert abs(bare_size[table] - real_size[table]) <= real_size[table] * 0.02, table
    # What the runtime finds events and transitions by, the bare loop has in `streams`, and as the
    # keys of its transitions.
    assert bare["streams"] + bare["transitions"] == real["ids"]
    assert bare["queue"] == real["queue"] == 0
    assert bare_size.total() <= real_size.total()
