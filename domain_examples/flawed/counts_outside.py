"""Counts twice, because it counts outside the runtime.

A handler may run again: after a crash, after a commit that failed, when it is tried again. The
runtime forgets what the attempt before did to the instance. It cannot know of a dictionary beside
it.
"""

from procession import Aggregate, Command, Domain, Event, ProcessManager, apply, handle
from procession.testing import Simulation, at_end


class Buy(Command):
    customer_id: str
    points: int


class GivePoints(Command):
    customer_id: str
    total: int


class Bought(Event):
    customer_id: str
    points: int


class PointsGiven(Event):
    customer_id: str
    total: int


class Till(Aggregate, identity="customer_id"):
    @handle(Buy)
    def buy(self, command: Buy) -> Bought:
        return Bought(self.id, command.points)


class Card(Aggregate, identity="customer_id"):
    total: int = 0

    @handle(GivePoints)
    def give(self, command: GivePoints) -> PointsGiven | None:
        # One that comes late knows less than the card.
        return PointsGiven(self.id, command.total) if command.total > self.total else None

    @apply(PointsGiven)
    def _given(self, event: PointsGiven) -> None:
        self.total = event.total


totals: dict[str, int] = {}


class Outside(ProcessManager, correlate="customer_id"):
    customer_id: str = ""

    @handle(Bought, start=True)
    def on_bought(self, event: Bought) -> None:
        totals[self.id] = totals.get(self.id, 0) + event.points
        self.issue(GivePoints(self.customer_id, totals[self.id]))


class Inside(ProcessManager, correlate="customer_id"):
    customer_id: str = ""
    total: int = 0

    @handle(Bought, start=True)
    def on_bought(self, event: Bought) -> None:
        self.total += event.points
        self.issue(GivePoints(self.customer_id, self.total))


flawed = Domain("shop")
flawed.register(Till, Card, Outside)

correct = Domain("shop")
correct.register(Till, Card, Inside)

program = [Buy("ada", 10), Buy("ada", 20)]

before_each = totals.clear


@at_end
def everything_counts_once(simulation: Simulation) -> None:
    given = [one.event for one in simulation.events("shop::card-ada")]
    assert given[-1] == PointsGiven("ada", 30), f"the card has {given[-1]}"


invariants = [everything_counts_once]
