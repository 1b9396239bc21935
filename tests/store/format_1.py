"""Format 1 as it was, and a small store that is written in it with LMDB and MessagePack alone."""

import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Any

import lmdb
import msgpack

TABLES = [
    "meta",
    "log",
    "streams",
    "transitions",
    "queue",
    "event_ids",
    "command_ids",
    "checkpoints",
    "parked",
    "parked_at",
    "decided",
    "waiting",
    "timers",
    "index",
    "refusals",
    "snapshots",
]

T = 1_700_000_000_000_000
LATER = 1 << 60
P = "shop.Orders"
STATE: bytes = msgpack.packb({"key": "k1"})


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def own(instance: str, last: int) -> bytes:
    return f"{P}\0{instance}\0".encode() + number(last)


def digest(*names: str) -> bytes:
    return blake2b("\0".join(names).encode(), digest_size=16).digest()


def event(
    stream: str, version: int, event_id: str | None = None, by: str | None = None, depth: int = 0
) -> list[Any]:
    """Type, stream, version, time, data, id, correlation, causation, headers, depth."""
    return ["shop.Placed.v1", stream, version, T, b"\x80", event_id, "root", by, None, depth]


def command(
    command_id: str, version: int = 0, stream: str = "shop::pay-o1", kind: str = "shop.Pay.v1"
) -> list[Any]:
    """Id, type, stream, time, data, correlation, causation, process, instance, version, depth."""
    issuer = [P, "o1", version] if version else [None, None, 0]
    return [command_id, kind, stream, T, b"\x80", "root", None, *issuer, 0]


def transition(cause: str, seen: int, *commands: list[Any], **timers: int) -> list[Any]:
    """Time, handler, is complete, cause, correlation, seen, state, commands, timers, note, version.

    The version is that of the state's class.
    """
    issued = [[one[0], one[1], one[4]] for one in commands]
    return [T, "on_placed", False, cause, "root", seen, STATE, issued, timers or None, None, 1]


def at(time: int, transition: list[Any]) -> list[Any]:
    """A transition of another time, with a state without keys."""
    return [time, *transition[1:6], b"\x80", *transition[7:]]


def parked(process: str, cause: str, error: str, position: int = 0, **also: Any) -> list[Any]:
    """Process, instance, cause, error's type and text, attempts, time, position, command, …"""
    return [
        *(process, "o2" if process else "shop::pay-o1", cause, error, "no", 3, T, position),
        also.get("command"),
        *("", 0, also.get("blocks", False), ""),
        also.get("decision"),
    ]


QUEUED, REFUSED, HELD = (command(f"{P}-o1@1.{n}", 1, kind=f"shop.Do{n}.v1") for n in range(3))
OUT = command("out", kind="shop.Out.v1")

ROWS: dict[str, dict[bytes, Any]] = {
    "meta": {b"format": 1, b"store_id": "0123456789abcdef" * 2},
    "log": {
        number(1): event("feed-1", 1, "given"),
        number(2): event("gate-1", 1),
        # Given before the store came to that place, which then named another event so.
        number(3): event("feed-1", 2, "gate-1@2"),
        number(4): event("gate-1", 2),
        number(5): event("shop::pay-o1", 1, None, QUEUED[0], 1),
    },
    "streams": {
        b"feed-1\0" + number(1): 1,
        b"gate-1\0" + number(1): 2,
        b"feed-1\0" + number(2): 3,
        b"gate-1\0" + number(2): 4,
        b"shop::pay-o1\0" + number(1): 5,
    },
    "event_ids": {b"given": 1, b"gate-1@2": 3},
    "transitions": {
        own("o1", 1): transition("given", 1, QUEUED, REFUSED, HELD, late=LATER, **{HELD[0]: LATER}),
        own("o1", 2): transition("gate-1@1", 2, late=LATER, **{HELD[0]: LATER}),
        own("o1", 3): transition(REFUSED[0], 2, late=LATER, **{HELD[0]: LATER}),
        own("o1", 4): transition("timeout:late", 2, **{HELD[0]: LATER}),
        own("o1", 5): transition("operator", 2, **{HELD[0]: LATER}),
        own("o1", 6): transition("shop::pay-o1@1", 5, **{HELD[0]: LATER}),
        # Made between those of the one above; its clock was put back before the last one.
        own("o0", 1): at(T + 1, transition("given", 1)),
        own("o0", 2): at(T - 9, transition("operator", 1)),
        own("o9", 1): at(T - 1, transition("given", 1)),
    },
    "queue": {number(7): QUEUED, number((1 << 62) + 1): OUT},
    "command_ids": {b"told": [0, 0, "no"]},
    "checkpoints": {P.encode(): 5},
    "parked": {
        number(1): parked(P, "given", "actors.errors.EarlyEvent", 1, blocks=True),
        number(3): parked("", OUT[0], "store.errors.StoreFull", command=OUT),
    },
    "parked_at": {own("o2", 1): 1},
    "decided": {
        number(2): parked(P, "position 2", "shop.OutOfStock", decision=["retry", T, "ann"]),
    },
    "waiting": {own("o2", 0): ["parked", 1, "", 0, 3, 0, 1], own("o2", 2): 0},
    "timers": {
        number(LATER) + digest(P, "o1", "command", HELD[0]): [P, "o1", HELD[0], "command", HELD],
    },
    "index": {digest(P, "key", "k1") + b"o1": 0},
    "refusals": {number(1): [REFUSED, "no"]},
    "snapshots": {b"gate-1": [1, b"state"]},
}


def write(folder: Path, rows: dict[str, dict[bytes, Any]]) -> None:
    """Write a store of format 1."""
    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.Environment(str(folder), max_dbs=32) as env:
        for table in TABLES:
            db = env.open_db(table.encode())
            with env.begin(write=True) as txn:
                for key, row in rows[table].items():
                    packed: bytes = msgpack.packb(row)
                    checksum = zlib.crc32(key + packed).to_bytes(4, "little")
                    txn.put(key, checksum + packed, db=db)
