"""Looks at a store, and at nothing else, for what must never be found there.

Of the runtime's own code it uses what reads records, and nothing of what writes them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from procession.store import EventRecord, Store
from procession.store.opening import open_store
from procession.store.verify.verify import verify_path

PROCESS = "killed.Fulfilment"
NAMES = {
    "OrderPlaced": "placed",
    "PaymentConfirmed": "confirmed",
    "PaymentFailed": "failed",
    "ShipmentDelivered": "delivered",
    "OrderCancelled": "cancelled",
    "GiftNoted": "gift",
}


def plain(packed: bytes) -> dict[str, Any]:
    return msgspec.msgpack.decode(packed, type=dict[str, Any])


class Acknowledged:
    """What a worker said was done, in the lines that `worker.py` writes."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.asked: set[str] = set()
        self.told: set[str] = set()
        self.published: dict[str, int] = {}
        self.noted: set[str] = set()
        self.decided: dict[int, set[tuple[str, str]]] = defaultdict(set)
        self.add(lines)

    def add(self, lines: Iterable[str]) -> None:
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "asked":
                self.asked.add(rest)
            elif kind == "told":
                self.told.add(rest)
            elif kind == "noted":
                self.noted.add(rest)
            elif kind == "decided":
                number, action, operator = rest.split()
                self.decided[int(number)].add((action, f"operator {operator}"))
            elif kind == "published":
                name, _, position = rest.partition(" ")
                self.published[name] = int(position)

    def __len__(self) -> int:
        done = (self.asked, self.told, self.published, self.noted, self.decided)
        return sum(map(len, done))

    @property
    def orders(self) -> set[str]:
        return self.asked | self.told


class Findings:
    """Everything that is wrong with one store; what is lost or doubled is counted apart too."""

    def __init__(self, path: str, acknowledged: Acknowledged) -> None:
        self.lost = 0
        self.doubled = 0
        self.wrong: list[str] = [str(finding) for finding in verify_path(path).findings]
        self.orders: set[str] = set()
        self.complete: set[str] = set()
        self.skipped: set[str] = set()
        self.happened: set[str] = set()
        with open_store(path, read_only=True) as store:
            self._read_log(store)
            self._look_for(store, acknowledged)
            self._read_decisions(store, acknowledged)
            self._read_instances(store)

    def _read_log(self, store: Store) -> None:
        versions: Counter[str] = Counter()
        made: Counter[str] = Counter()
        ids: Counter[str] = Counter()
        self._events: dict[str, EventRecord] = {}
        for position, event in enumerate(store.scan_log(), 1):
            versions[event.stream] += 1
            ids[event.event_id] += 1
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
            self._once(count, f"command {command} took effect {count} times")
        for event_id, count in ids.items():
            self._once(count, f"event {event_id} is there {count} times")
        for stream, count in versions.items():
            most = 2 if "::order-" in stream else 1
            self._once(count - most + 1, f"{stream} has {count} events")

    def _look_for(self, store: Store, acknowledged: Acknowledged) -> None:
        queued_orders: set[str] = set()
        queued: set[str] = set()
        for one in store.scan_queue():
            queued.add(one.command_id)
            if ".PlaceOrder." in one.type:
                queued_orders.add(plain(one.data)["order_id"])
        self._lose("asked", acknowledged.asked - self.orders)
        self._lose("told", acknowledged.told - self.orders - queued_orders)
        carried_out = {event.causation_id for event in self._events.values()}
        self._lose("told under an id", acknowledged.noted - carried_out - queued)
        for event_id, position in acknowledged.published.items():
            event = self._events.get(event_id)
            if event is None or event.position != position:
                self._lose("published", {event_id})

    def _read_decisions(self, store: Store, acknowledged: Acknowledged) -> None:
        found: dict[int, tuple[str, str | None]] = {}
        for one in store.scan_parked(decided=True):
            assert one.decision is not None
            action, _, by = one.decision
            found[one.number] = action, by
            if action == "skip":
                self.skipped.add(one.instance)
        for number, told in acknowledged.decided.items():
            self._once(
                len(told), f"{number}: several operators were told that they decided: {told}"
            )
            if found.get(number) not in told:
                self._lose("decided", {f"{number}: {told}, and there is {found.get(number)}"})

    def _read_instances(self, store: Store) -> None:
        for instance, last in store.scan_instances(PROCESS):
            history = list(store.scan_transitions(PROCESS, instance))
            causes = Counter(one.cause for one in history)
            self._once(max(causes.values()), f"{instance} took an event twice")
            issued = Counter(command for step in history for command, _, _ in step.commands)
            self._once(max(issued.values(), default=1), f"{instance} issued a command twice")
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

    def _once(self, count: int, otherwise: str) -> None:
        if count > 1:
            self.doubled += 1
            self.wrong.append(otherwise)

    def _lose(self, how: str, lost: set[str]) -> None:
        if lost:
            self.lost += len(lost)
            self.wrong.append(f"acknowledged ({how}) and lost: {sorted(lost)[:5]}")
