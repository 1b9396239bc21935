"""Rules of one's own over a simulation."""

from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle, testing
from procession.testing import ProcessMachine

till = Domain("till")


class Buy(Command):
    customer: str
    price: int


class Bought(Event):
    customer: str
    price: int


class Book(Command):
    customer: str
    total: int


class Booked(Event):
    customer: str
    total: int


@till.register
class Customer(Aggregate, identity="customer"):
    @handle(Buy)
    def buy(self, command: Buy) -> Bought:
        return Bought(self.id, command.price)


@till.register
class Ledger(Aggregate, identity="customer"):
    @handle(Book)
    def book(self, command: Book) -> Booked:
        return Booked(self.id, command.total)


@till.register
class Account(ProcessManager, correlate="customer"):
    customer: str = ""
    total: int = 0

    @handle(Bought, start=True)
    def on_bought(self, event: Bought) -> None:
        self.total += event.price
        self.issue(Book(self.customer, self.total))


FEW = settings(max_examples=20, stateful_step_count=15, deadline=None)


class Shopping(ProcessMachine):
    domains: ClassVar[Domain] = till
    limit: ClassVar[int] = 1 << 30

    def __init__(self) -> None:
        super().__init__()
        self.spent = 0

    @rule(price=st.integers(1, 9))
    def buy(self, price: int) -> None:
        self.simulation.tell(Buy("ada", price))
        self.spent += price

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        view = self.simulation.get(Account, "ada")
        assert view is None or view.state["total"] <= min(self.spent, self.limit)

    def at_end(self) -> None:
        view = self.simulation.get(Account, "ada")
        assert (0 if view is None else view.state["total"]) == self.spent


def test_a_machine_with_rules_of_its_own_passes_when_all_is_well() -> None:
    run_state_machine_as_test(Shopping, settings=FEW)


def test_a_machine_fails_where_an_invariant_of_its_own_does_not_hold() -> None:
    class Poor(Shopping):
        limit: ClassVar[int] = 5

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Poor, settings=FEW)


def test_a_machine_looks_at_the_end_when_everything_has_settled() -> None:
    class Wishful(Shopping):
        def at_end(self) -> None:
            assert not self.spent, "something was bought"

    with pytest.raises(AssertionError, match="something was bought"):
        run_state_machine_as_test(Wishful, settings=FEW)


def test_a_machine_need_not_let_anything_go_wrong() -> None:
    class Calm(Shopping):
        faults: ClassVar[tuple[str, ...]] = ()

        def at_end(self) -> None:
            super().at_end()
            assert "crash" not in str(self.simulation.trace)

    run_state_machine_as_test(Calm, settings=FEW)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Machine'"):
        _ = testing.Machine
