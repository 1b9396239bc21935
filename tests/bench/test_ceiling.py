"""The bare loop writes what the runtime writes, or comparing the two would mean nothing."""

from decimal import Decimal
from pathlib import Path

import lmdb

from bench.ceiling import TABLES, BareLoop
from bench.workload import PlaceOrder, shop
from procession import Runtime

ORDERS = 40


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Rows and bytes of values by table."""
    found: dict[str, tuple[int, int]] = {}
    with lmdb.open(str(folder), max_dbs=32) as env:
        for name in TABLES:
            table = env.open_db(name.encode())
            with env.begin(db=table) as txn:
                values = [len(value) for _, value in txn.cursor()]
            found[name] = len(values), sum(values)
    return found


def test_the_bare_loop_writes_as_many_rows_and_bytes_as_the_runtime(tmp_path: Path) -> None:
    loop = BareLoop(tmp_path / "loop")
    loop.run(ORDERS)
    loop.close()
    with Runtime(tmp_path / "store", shop) as runtime:
        runtime.tell_many([PlaceOrder(f"o{n:07d}", "c1", Decimal(99)) for n in range(ORDERS)])
        runtime.settle(timeout=10)
    bare, real = sizes(tmp_path / "loop"), sizes(tmp_path / "store")
    for table in TABLES:
        assert bare[table][0] == real[table][0], table
        # Numbers of more or fewer digits take a byte more or less.
        assert abs(bare[table][1] - real[table][1]) <= real[table][1] * 0.02, table
