"""What a handler left behind changes no later step, whatever order, crash or failure there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle
from procession.testing import explore

if TYPE_CHECKING:
    from procession.testing import Simulation

shop = Domain("shop")
left_behind: list[Cart] = []
"""What handlers gave to a timer or a thread, by which it would be used later."""


class Add(Command):
    cart: str
    item: str


class Added(Event):
    cart: str
    item: str


class Ship(Command):
    cart: str


class Shipped(Event):
    cart: str


@shop.register
class Shelf(Aggregate, identity="cart"):
    @handle(Add)
    def add(self, command: Add) -> Added:
        return Added(self.id, command.item)

    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id)


@shop.register
class Cart(ProcessManager, correlate="cart"):
    cart: str = ""
    count: int = 0
    shipped: int = 0

    @handle(Added, start=True)
    def added(self, event: Added) -> None:
        for earlier in left_behind:
            for use in (earlier.spoil, earlier.mark_as_complete, earlier.send):
                with pytest.raises((AttributeError, RuntimeError), match="after the step"):
                    use()
        left_behind.append(self)
        self.count += 1
        self.issue(Ship(self.cart))

    @handle(Shipped)
    def on_shipped(self, event: Shipped) -> None:
        self.shipped += 1

    def spoil(self) -> None:
        self.count = 1_000

    def send(self) -> None:
        self.issue(Ship("elsewhere"))


def each_step_is_of_its_own_event(run: Simulation) -> None:
    carts = {view.id: view for view in run.find(Cart)}
    events = [one.event for one in run.events()]
    for cart, view in carts.items():
        added = sum(1 for one in events if isinstance(one, Added) and one.cart == cart)
        assert view.state == {"cart": cart, "count": added, "shipped": added}
        assert not view.is_complete
    assert set(carts) == {"a", "b"}


def test_what_a_handler_left_behind_reaches_no_later_step() -> None:
    program = [[Add("a", "pen"), Add("b", "ink")], [Add("a", "cup")], [Add("b", "tea")]]
    explore(shop, program, at_end=[each_step_is_of_its_own_event], max_awake=1, max_examples=80)
    assert left_behind
