"""Looks at a store, and at nothing else, for what must never be found there."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from store import EventRecord, LmdbStore, Store, TransitionRecord, verify

PAGE = 1_000
PROCESS = "killed.Fulfilment"
NAMES = {
    "OrderPlaced": "placed",
    "PaymentConfirmed": "confirmed",
    "PaymentFailed": "failed",
    "ShipmentDelivered": "delivered",
    "OrderCancelled": "cancelled",
    "GiftNoted": "gift",
}


def log_of(store: Store) -> Iterator[EventRecord]:
    after = 0
    while page := store.read_log(after, PAGE):
        yield from page
        after = page[-1].position


def instances_of(store: Store, process: str = PROCESS) -> Iterator[tuple[str, TransitionRecord]]:
    after = ""
    while page := store.read_instances(process, after, PAGE):
        yield from page
        after = page[-1][0]


def transitions_of(store: Store, instance: str, process: str = PROCESS) -> list[TransitionRecord]:
    return store.read_transitions(process, instance, 0, PAGE)


def queued_orders(store: Store) -> set[str]:
    queued: set[str] = set()
    after = 0
    while page := store.read_queue(after, PAGE):
        queued |= {plain(one.data)["order_id"] for one in page if ".PlaceOrder." in one.type}
        after = page[-1].ticket
    return queued


def plain(packed: bytes) -> dict[str, Any]:
    return msgspec.msgpack.decode(packed, type=dict[str, Any])


class Findings:
    """Everything that is wrong with one store."""

    def __init__(self, path: str, acknowledged: set[str]) -> None:
        self.wrong: list[str] = [str(finding) for finding in verify(path)]
        self.orders: set[str] = set()
        self.complete: set[str] = set()
        self.happened: set[str] = set()
        with LmdbStore(path, read_only=True) as store:
            self._read_log(store, acknowledged)
            self._read_instances(store)

    def _read_log(self, store: Store, acknowledged: set[str]) -> None:
        versions: Counter[str] = Counter()
        made: Counter[str] = Counter()
        self._events: dict[str, EventRecord] = {}
        for position, event in enumerate(log_of(store), 1):
            versions[event.stream] += 1
            if event.causation_id is not None:
                made[event.causation_id] += 1
            self._events[event.event_id] = event
            self._expect(event.position == position, f"position {position} is missing")
            self._expect(
                event.version == versions[event.stream],
                f"{event.stream} jumps to version {event.version}",
            )
            if ".OrderPlaced." in event.type:
                self.orders.add(plain(event.data)["order_id"])
        # Every command of this domain makes one event.
        for command, count in made.items():
            self._expect(count == 1, f"command {command} took effect {count} times")
        for stream, count in versions.items():
            most = 2 if "::order-" in stream else 1
            self._expect(count <= most, f"{stream} has {count} events")
        lost = acknowledged - self.orders - queued_orders(store)
        self._expect(not lost, f"acknowledged and lost: {sorted(lost)[:5]}")

    def _read_instances(self, store: Store) -> None:
        for instance, last in instances_of(store):
            history = transitions_of(store, instance)
            causes = Counter(one.cause for one in history)
            self._expect(max(causes.values()) == 1, f"{instance} took an event twice")
            self._expect(
                [one.version for one in history] == list(range(1, len(history) + 1)),
                f"{instance} has a gap in its versions",
            )
            self._expect(history[-1] == last, f"{instance}: the last transition is not the newest")
            events = [self._events[one.cause] for one in history if one.cause in self._events]
            # What was held is handled after the start, though it came before.
            positions = [one.position for one in events if ".GiftNoted." not in one.type]
            self._expect(positions == sorted(positions), f"{instance} saw events out of order")
            highest = [one.seen for one in history]
            self._expect(highest == sorted(highest), f"{instance} forgot what it has seen")
            # The state is what the handlers made of just these causes.
            seen = [self._name_of(one.cause) for one in history]
            self.happened |= set(seen)
            for number, one in enumerate(history, 1):
                state = plain(one.state)
                self._expect(
                    state["seen"] == seen[:number] and state["order_id"] == instance,
                    f"{instance}: the state {state} does not follow from {seen[:number]}",
                )
            self._expect(
                not any(one.is_complete for one in history[:-1]),
                f"{instance} went on after its end",
            )
            if last.is_complete:
                self.complete.add(instance)

    def _name_of(self, cause: str) -> str:
        if cause.startswith("timeout:"):
            return "timeout"
        event = self._events.get(cause)
        return NAMES[event.type.split(".")[1]] if event is not None else "refused"

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)
