"""The bare loop: what one Python thread can do with the same records and no actors.

It plays the three-step order with plain dictionaries as state, builds the event, transition and
command records of the first version that was measured, packs them with its frames into its tables,
and commits with fsync every 2,048 messages. It stays as it was, whatever the runtime writes today,
so that what is measured against it can be compared. What is left out is everything the runtime
adds: validation, typed messages, actors, routing, correlation, rehydration, recovery.
"""

from __future__ import annotations

import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

import lmdb
import msgpack

from procession.store.layout.frames import number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MESSAGES_PER_COMMIT = 2_048
TABLES = ("log", "streams", "transitions", "queue", "command_ids")

HANDLERS = {1: "on_order_placed", 2: "on_payment_confirmed", 3: "on_shipment_delivered"}

# One message: what to do, for which order, with which id, because of what.
Message = tuple[str, str, str, str, int]


_crc32 = zlib.crc32
_pack_checksum = struct.Struct("<I").pack


class Framer:
    """Makes frames as the bare loop always did; it keeps its packer."""

    def __init__(self) -> None:
        self._pack: Callable[[Any], bytes] = msgpack.Packer().pack

    def frame(self, key: bytes, value: Any) -> bytes:
        """CRC-32 of the key and the packed value, four bytes, the lowest first; then the latter."""
        packed = self._pack(value)
        return _pack_checksum(_crc32(packed, _crc32(key))) + packed


class BareLoop:
    """One thread, plain dictionaries, group commit."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._env = lmdb.Environment(str(folder), map_size=1 << 33, max_dbs=len(TABLES))
        self._db = {name: self._env.open_db(name.encode()) for name in TABLES}
        self._frame = Framer().frame
        self._position = 0
        self._sequence = 0
        self._states: dict[str, dict[str, Any]] = {}
        self._versions: dict[str, int] = {}
        self._roots: dict[str, str] = {}

    def run(self, orders: int) -> float:
        """Carry out that many orders; returns orders a second."""
        began = time.perf_counter()
        waiting = iter(range(orders))
        todo: list[Message] = []
        exhausted = False
        while todo or not exhausted:
            # As many new orders as make the batch full, behind what is under way already.
            while len(todo) < MESSAGES_PER_COMMIT and not exhausted:
                number_of_order = next(waiting, None)
                if number_of_order is None:
                    exhausted = True
                    break
                name = f"o{number_of_order:07d}"
                todo.append(("PlaceOrder", name, f"{number_of_order:034x}", "", 0))
            batch, todo = todo[:MESSAGES_PER_COMMIT], todo[MESSAGES_PER_COMMIT:]
            with self._env.begin(write=True) as txn:
                for message in batch:
                    todo += self._handle(txn, *message)
        return orders / (time.perf_counter() - began)

    def close(self) -> None:
        self._env.close()

    def _handle(
        self, txn: Any, kind: str, order: str, message_id: str, cause: str, sequence: int
    ) -> list[Message]:
        if kind == "PlaceOrder":
            data = {"order_id": order, "customer_id": "c1", "total": "99"}
            self._roots[order] = message_id
            sequence = self._enqueue(txn, order, "order", kind, message_id, None, data, None)
            key = message_id.encode()
            result = [self._position + 1, 1, None]
            txn.put(key, self._frame(key, result), db=self._db["command_ids"])
            self._take(txn, sequence)
            return self._append(txn, order, "order", "OrderPlaced", data, message_id)
        if kind == "RequestPayment":
            self._take(txn, sequence)
            return self._append(
                txn,
                order,
                "payment",
                "PaymentConfirmed",
                {"order_id": order, "amount": "99"},
                cause,
            )
        if kind == "CreateShipment":
            self._take(txn, sequence)
            return self._append(
                txn, order, "shipment", "ShipmentDelivered", {"order_id": order}, cause
            )
        if kind == "OrderPlaced":
            data = {"order_id": order, "amount": "99"}
            return self._step(txn, order, message_id, "awaiting_payment", "RequestPayment", data)
        if kind == "PaymentConfirmed":
            data = {"order_id": order}
            return self._step(txn, order, message_id, "awaiting_shipment", "CreateShipment", data)
        return self._step(txn, order, message_id, "completed", None, {})

    def _take(self, txn: Any, sequence: int) -> None:
        txn.delete(number(sequence), db=self._db["queue"])

    def _append(
        self, txn: Any, order: str, category: str, kind: str, data: dict[str, Any], cause: str
    ) -> list[Message]:
        stream = f"ecommerce::{category}-{order}"
        self._position += 1
        position = number(self._position)
        row = [
            f"ecommerce.{kind}.v1",
            stream,
            1,
            time.time_ns() // 1000,
            msgpack.packb(data),
            None,
            self._roots[order],
            cause,
            None,
            0 if kind == "OrderPlaced" else self._versions[order],
        ]
        txn.put(position, self._frame(position, row), db=self._db["log"], append=True)
        key = stream.encode() + b"\0" + number(1)
        txn.put(key, self._frame(key, self._position), db=self._db["streams"])
        return [(kind, order, f"{stream}@1", cause, 0)]

    def _step(
        self,
        txn: Any,
        order: str,
        cause: str,
        status: str,
        command: str | None,
        data: dict[str, Any],
    ) -> list[Message]:
        state = self._states.setdefault(order, {"order_id": order, "status": "new"})
        state["status"] = status
        version = self._versions[order] = self._versions.get(order, 0) + 1
        command_id = f"ecommerce.OrderFulfillment-{order}@{version}.0"
        packed = msgpack.packb(data)
        commands = [] if command is None else [[command_id, f"ecommerce.{command}.v1", packed]]
        row = [
            time.time_ns() // 1000,
            HANDLERS[version],
            command is None,
            cause,
            self._roots[order],
            self._position,
            msgpack.packb(state),
            commands,
            None,
            None,
            1,
            self._position,
            0,
            1,
            1,
        ]
        key = f"ecommerce.OrderFulfillment\0{order}\0".encode() + number(version)
        txn.put(key, self._frame(key, row), db=self._db["transitions"])
        if command is None:
            return []
        category = "payment" if version == 1 else "shipment"
        sequence = self._enqueue(txn, order, category, command, command_id, cause, data, version)
        return [(command, order, command_id, command_id, sequence)]

    def _enqueue(
        self,
        txn: Any,
        order: str,
        category: str,
        kind: str,
        command_id: str,
        cause: str | None,
        data: Any,
        version: int | None,
    ) -> int:
        self._sequence += 1
        row = [
            command_id,
            f"ecommerce.{kind}.v1",
            f"ecommerce::{category}-{order}",
            time.time_ns() // 1000,
            msgpack.packb(data),
            self._roots[order],
            cause,
            None if version is None else "ecommerce.OrderFulfillment",
            None if version is None else order,
            version or 0,
            0,
        ]
        key = number(self._sequence)
        txn.put(key, self._frame(key, row), db=self._db["queue"], append=True)
        return self._sequence
