"""Effects of programs made up by chance: each behind its handler, and its command once."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Retry,
    after,
    handle,
)
from procession.testing import Publish, explore

if TYPE_CHECKING:
    from procession.testing import Simulation


class Placed(Event):
    order: str


class Packed(Event):
    order: str
    number: int


class Billed(Event):
    order: str
    invoice: str


class Revoked(Event):
    order: str
    invoice: str


class Paid(Event):
    invoices: tuple[str, ...]
    number: int


class Called(Event):
    """No handler takes it."""

    order: str
    number: int


class Closed(Event):
    order: str


class Stamp(Command):
    order: str
    what: str


class Stamped(Event):
    order: str
    what: str


class World:
    ran: ClassVar[set[tuple[str, str]]] = set()
    """The effects that ran: the instance and the event."""


def designed(chance: random.Random) -> tuple[Domain, type[ProcessManager]]:
    shop = Domain("shop")
    options: dict[str, Any] = {
        "early": chance.choice(["hold", "park"]),
        "late": "park",
        "unmatched": chance.choice(["hold", "park", "skip"]),
        "restart": chance.random() < 0.5,
    }
    if chance.random() < 0.4:
        options["retry"] = Retry(attempts=2, first=timedelta(minutes=1))

    @shop.register
    class Office(Aggregate, identity="order"):
        @handle(Stamp)
        def stamp(self, command: Stamp) -> Stamped:
            return Stamped(self.id, command.what)

    @shop.register
    class Shipping(ProcessManager, correlate="order", begin="origin", **options):
        order: str = ""
        invoices: Indexed[set[str]] = set()
        log: list[str] = []

        def _note(self) -> None:
            self.log.append(f"{self.context.position}")

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self._note()

        @handle(Packed)
        def on_packed(self, event: Packed) -> None:
            self._note()

        @handle(Billed)
        def on_billed(self, event: Billed) -> None:
            self.invoices.add(event.invoice)

        @handle(Revoked)
        def on_revoked(self, event: Revoked) -> None:
            self.invoices.discard(event.invoice)

        @handle(Paid, correlate={"invoices": "invoices"})
        def on_paid(self, event: Paid) -> None:
            self._note()

        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None: ...

        @after(Placed)
        @after(Packed)
        @after(Paid)
        @after(Called)
        def act(self, event: Event) -> None:
            what = f"{self.context.position}"
            if not isinstance(event, Called):
                World.ran.add((self.id, what))
            self.issue(Stamp(self.id, what))

    @shop.register
    class Ledger(ProcessManager, correlate="order", begin="origin", early="hold"):
        order: str = ""

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

        @handle(Packed)
        def on_packed(self, event: Packed) -> None: ...

    return shop, Shipping


def program(chance: random.Random) -> list[Any]:
    def made(number: int) -> Event:
        order, invoice = chance.choice("ab"), chance.choice("ij")
        return chance.choice(
            [
                Placed(order),
                Placed(order),
                Packed(order, number),
                Billed(order, invoice),
                Revoked(order, invoice),
                Paid(tuple(chance.sample("ij", chance.randint(1, 2))), number),
                Called(order, number),
                Closed(order),
            ]
        )

    clients: list[Any] = []
    for client in range(chance.randint(1, 3)):
        stream = f"feed::{client}-1"
        brought: list[Any] = [
            Publish(made(number), stream=stream) for number in range(chance.randint(2, 6))
        ]
        if chance.random() < 0.3:
            brought.insert(chance.randint(0, len(brought)), timedelta(minutes=2))
        clients.append(brought)
    return clients


@pytest.mark.parametrize("seed", range(10))
def test_each_effect_follows_its_handler_and_sends_its_command_once(seed: int) -> None:
    chance = random.Random(seed)
    shop, shipping = designed(chance)

    def handled(simulation: Simulation) -> set[tuple[str, str]]:
        return {
            (view.id, what)
            for view in simulation.find(shipping)
            for step in simulation.history(shipping, view.id)
            for what in step.state["log"]
        }

    def none_came_before_its_handler(simulation: Simulation) -> None:
        early = World.ran - handled(simulation)
        assert not early, f"effects before their handlers: {early}"

    def each_sent_its_command_once(simulation: Simulation) -> None:
        events = [one.event for one in simulation.events()]
        stamps = Counter((one.order, one.what) for one in events if isinstance(one, Stamped))
        assert set(stamps.values()) <= {1}
        missing = handled(simulation) - set(stamps)
        assert not missing, f"without their effects: {missing}"
        assert list(simulation._world.store.scan_owed("shop.Shipping")) == []

    options: dict[str, Any] = chance.choice(
        [{}, {"max_in_flight": 1}, {"max_awake": 1, "largest_commit": 1}]
    )
    explore(
        shop,
        program(chance),
        [none_came_before_its_handler],
        at_end=[each_sent_its_command_once],
        before_each=World.ran.clear,
        allow_parked=True,
        max_examples=40,
        seed=seed,
        **options,
    )
