"""The three-step order here and in other Python libraries: orders a second, one after the other.

    python -m bench.peers --json

Each library gets an environment of its own, with pinned packages, and checks its own result. All
stores are in the temporary folder (`TMPDIR` sets another), so all are on one disk. Ours always
writes to disk with fsync, also when it is compared with a library that keeps all in memory. Beside
a library on PostgreSQL, ours runs on the same server, which is started here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from bench.postgresql import ITS_OWN, carry_out
from tests.postgresql import new_server, programs

from .environments import DEFAULT_FOLDER, HERE, NotMade, environment, last_line

OUR_ORDERS = 20_000
TIME_LIMIT = 300.0
"""Seconds for one run; at the usual number of orders it takes up to 30."""


@dataclass(frozen=True)
class Peer:
    """One library with one store, and as many orders as it carries out in 10 to 30 seconds."""

    name: str
    package: str
    store: str
    orders: int

    @property
    def script(self) -> Path:
        return HERE / f"{self.package}_orders.py"


# What slows down as its store grows is better off with fewer orders: that is in the peers' favour.
PEERS = (
    Peer("eventsourcing-sqlite", "eventsourcing", "SQLite", 6_000),
    Peer("eventsourcing-memory", "eventsourcing", "memory", 30_000),
    Peer("dbos-sqlite", "dbos", "SQLite", 2_000),
    Peer("dbos-sqlite-wal", "dbos", "SQLite (WAL)", 3_000),
    Peer("dbos-postgresql", "dbos", "PostgreSQL", 2_000),
    Peer("protean-memory", "protean", "memory", 80),
)


class Row(TypedDict):
    system: str
    version: str
    store: str
    orders: int
    orders_per_s: float
    ratio_of_ours: float
    """How many times as fast ours is."""


class Failed(Exception):
    """A run ended without a result."""


def run(command: list[str]) -> dict[str, Any]:
    """The JSON object that a program prints last."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"did not end within {TIME_LIMIT:.0f} s") from error
    if done.returncode != 0:
        raise Failed(last_line(done.stderr))
    try:
        result: dict[str, Any] = json.loads(last_line(done.stdout))
    except ValueError as error:
        raise Failed(f"printed no JSON: {last_line(done.stdout)}") from error
    return result


def run_ours(orders: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.three_step_order", "--orders", str(orders), "--json"]
    result = run(command)
    if result["complete"] != orders:
        raise Failed(f"{result['complete']} of {orders} orders are complete")
    return {key: result[key] for key in ("orders", "complete", "orders_per_s")}


def run_peer(peer: Peer, envs: Path, scale: float) -> dict[str, Any]:
    interpreter = environment(peer.package, envs)
    # Isolated (-I): nothing of ours, and nothing from the caller's Python, is on its path.
    command = [str(interpreter), "-I", str(peer.script), "--store", peer.store]
    return run([*command, "--orders", str(scaled(peer.orders, scale))])


def run_on_one_server(
    peer: Peer, envs: Path, scale: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the peer and ours come to, one after the other on one server of PostgreSQL."""
    if programs() is None:
        raise NotMade("there is no PostgreSQL here")
    interpreter = environment(peer.package, envs)
    orders = scaled(peer.orders, scale)
    with new_server(tempfile.gettempdir(), **ITS_OWN) as server:
        command = [str(interpreter), "-I", str(peer.script), "--store", peer.store]
        database = f"postgresql://postgres@127.0.0.1:{server.port}/peer?sslmode=disable"
        theirs = run([*command, "--orders", str(orders), "--database", database])
        # As many as take a while.
        own = scaled(OUR_ORDERS, scale)
        rate = carry_out(server.new_url(), own).rate
    return theirs, {"orders": own, "orders_per_s": round(rate, 1)}


def scaled(orders: int, scale: float) -> int:
    return max(1, round(orders * scale))


def row(peer: Peer, result: dict[str, Any], ours: dict[str, Any]) -> Row:
    return {
        "system": peer.package,
        "version": result["version"],
        "store": peer.store,
        "orders": result["orders"],
        "orders_per_s": result["orders_per_s"],
        "ratio_of_ours": round(ours["orders_per_s"] / result["orders_per_s"], 1),
    }


def table(rows: list[Row], ours: dict[str, Any], there: dict[str, Any] | None = None) -> str:
    """Lines for people; `there` is what ours came to on PostgreSQL."""
    line = "{:<14} {:<10} {:<14} {:>8} {:>10} {:>12}".format
    lines = [line("system", "version", "store", "orders", "orders/s", "ours is")]
    speed = f"{ours['orders_per_s']:,.0f}"
    lines.append(line("procession", "this tree", "LMDB, fsync", f"{ours['orders']:,}", speed, ""))
    if there is not None:
        speed = f"{there['orders_per_s']:,.0f}"
        lines.append(
            line("procession", "this tree", "PostgreSQL", f"{there['orders']:,}", speed, "")
        )
    lines.extend(
        line(
            each["system"],
            each["version"],
            each["store"],
            f"{each['orders']:,}",
            f"{each['orders_per_s']:,.1f}",
            f"{each['ratio_of_ours']:,.1f} times",
        )
        for each in rows
    )
    lines.append("Ours wrote to disk with fsync, also beside those that keep all in memory.")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--orders-scale", type=float, default=1.0, help="times the usual number of orders, of all"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[peer.name for peer in PEERS],
        help="this one; may be given several times; all by default",
    )
    parser.add_argument(
        "--envs", type=Path, default=DEFAULT_FOLDER, help="where the environments are or go"
    )
    options = parser.parse_args()
    chosen = [peer for peer in PEERS if not options.only or peer.name in options.only]

    say("procession")
    try:
        ours = run_ours(scaled(OUR_ORDERS, options.orders_scale))
    except Failed as error:
        say(f"  {error}")
        return 1
    rows: list[Row] = []
    there: dict[str, Any] | None = None
    for peer in chosen:
        say(peer.name)
        envs, beside = options.envs.absolute(), ours
        try:
            if peer.store == "PostgreSQL":
                result, there = run_on_one_server(peer, envs, options.orders_scale)
                beside = there
            else:
                result = run_peer(peer, envs, options.orders_scale)
        except (NotMade, Failed) as error:
            say(f"  not measured: {error}")
            continue
        rows.append(row(peer, result, beside))
    found = {"rows": rows, "ours": ours, "ours_on_postgresql": there}
    print(json.dumps(found) if options.json else table(rows, ours, there))
    return 0 if rows else 1


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
