"""In a scenario, an operator ends and amends the instance that it speaks of."""

from datetime import timedelta

import pytest

from procession import (
    Aggregate,
    AlreadyEnded,
    Command,
    Domain,
    Event,
    Indexed,
    InvalidMessage,
    ProcessManager,
    UnknownInstance,
    ended,
    handle,
    timeout,
)
from procession.testing import Scenario

HOUR = timedelta(hours=1)


class Ordered(Event):
    order: str


class Paid(Event):
    payment: str


class Refund(Command):
    order: str
    because: str


class Remind(Command):
    order: str


shop = Domain("shop")
shop.register(Ordered, Paid)


@shop.register
class Till(Aggregate, identity="order"):
    @handle(Refund)
    def refund(self, command: Refund) -> None:
        pass

    @handle(Remind)
    def remind(self, command: Remind) -> None:
        pass


@shop.register
class Order(ProcessManager, correlate="order"):
    order: str = ""
    payment: Indexed[str] = ""
    rate: int = 1
    status: str = "new"

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.set_timeout("late", HOUR)
        self.issue(Remind(self.order), after=2 * HOUR)

    @handle(Paid, correlate={"payment": "payment"})
    def on_paid(self, event: Paid) -> None:
        self.status = "paid"

    @timeout("late")
    def on_late(self) -> None:
        self.status = "late"

    @ended
    def give_back(self, reason: str) -> None:
        self.issue(Refund(self.order, f"{reason}, says {self.context.actor}"))


ORDERED = Scenario(shop).given(Ordered("o1"))


def test_an_end_issues_what_makes_good_and_takes_back_what_is_due() -> None:
    over = ORDERED.end("fraud", by="ann").issues(Refund("o1", "fraud, says ann")).completes()
    over.cancels(Remind("o1")).cancels_timeout("late")
    ORDERED.end("fraud", compensate=False).issues().completes()
    with pytest.raises(AlreadyEnded):
        over.end("again")


def test_an_amendment_is_followed_by_what_happens_next() -> None:
    amended = ORDERED.amend(payment="p1", rate=3).issues().continues().state(rate=3)
    amended.when(Paid("p1")).state(status="paid")
    ORDERED.when(Paid("p1")).holds().amend({"payment": "p1"}).state(status="paid")
    with pytest.raises(InvalidMessage, match="says which instance it is"):
        ORDERED.amend(order="o2")


def test_it_must_be_clear_which_instance_is_meant() -> None:
    with pytest.raises(UnknownInstance, match="give first what starts one"):
        Scenario(shop, Order).end("fraud")
    with pytest.raises(ValueError, match="both 'o1' and 'o2' of Order have started"):
        ORDERED.given(Ordered("o2")).amend(rate=2)
