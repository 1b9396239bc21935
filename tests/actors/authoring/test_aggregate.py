"""An aggregate as a plain object, and what its definition makes of commands and events."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from procession import (
    Aggregate,
    Command,
    Event,
    InvalidMessage,
    InvalidName,
    Rejected,
    UnknownMessage,
    apply,
    handle,
)
from procession.messages.codec import dump
from procession.model.aggregate_definition import AggregateDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator


class Opened(Event):
    owner: str


class Deposited(Event):
    amount: Decimal


class Noted(Event):
    text: str


class Open(Command):
    account: str
    owner: str


class Deposit(Command):
    account: str
    amounts: list[Decimal]


class Misbehave(Command):
    account: str
    answer: Any = None


class Account(Aggregate, identity="account"):
    owner: str = ""
    balance: Decimal = Decimal(0)
    entries: list[Decimal] = []

    @handle(Open)
    def open(self, command: Open) -> Opened:
        if self.owner:
            raise Rejected("already open")
        return Opened(command.owner)

    @handle(Deposit)
    def deposit(self, command: Deposit) -> Iterator[Event]:
        for amount in command.amounts:
            yield Deposited(amount)
            yield Noted(f"balance {self.balance}, version {self.version}")
            if self.balance > 100:
                raise Rejected("over the limit")

    @handle(Misbehave)
    def misbehave(self, command: Misbehave) -> Any:
        if command.answer == "assign":
            self.owner = "thief"
        return command.answer

    @apply(Opened)
    def _opened(self, event: Opened) -> None:
        self.owner = event.owner

    @apply(Deposited)
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount
        self.entries.append(event.amount)


definition = AggregateDefinition(Account, "bank")


def decide(account: Account, command: Command) -> list[Event]:
    return [event for event, *_ in definition.decide(account, command)]


def test_an_aggregate_begins_with_the_defaults() -> None:
    account = Account("a1")
    assert (account.id, account.version) == ("a1", 0)
    assert (account.owner, account.balance, account.entries) == ("", Decimal(0), [])


def test_a_handler_can_be_called_like_any_method() -> None:
    assert Account("a1").open(Open("a1", "Ann")) == Opened("Ann")


def test_deciding_applies_what_was_made() -> None:
    account = Account("a1")
    assert decide(account, Open("a1", "Ann")) == [Opened("Ann")]
    assert (account.owner, account.version) == ("Ann", 1)


def test_a_yielded_event_is_applied_before_the_next_line_runs() -> None:
    account = Account("a1")
    made = decide(account, Deposit("a1", [Decimal(1), Decimal(2)]))
    assert made == [
        Deposited(Decimal(1)),
        Noted("balance 1, version 1"),
        Deposited(Decimal(2)),
        Noted("balance 3, version 3"),
    ]
    assert (account.balance, account.version) == (Decimal(3), 4)


def test_an_event_that_nothing_applies_counts_all_the_same() -> None:
    account = Account("a1")
    definition.evolve(account, Noted("x"))
    assert account.version == 1


def test_events_come_with_the_bytes_that_are_stored() -> None:
    assert definition.decide(Account("a1"), Open("a1", "Ann")) == [
        (Opened("Ann"), *dump(Opened("Ann")))
    ]


@pytest.mark.parametrize(
    ("answer", "made"),
    [
        (None, []),
        ([], []),
        ((), []),
        (Noted("a"), [Noted("a")]),
        ([Noted("a"), Noted("b")], [Noted("a"), Noted("b")]),
        ((Noted("a"),), [Noted("a")]),
        (iter([Noted("a")]), [Noted("a")]),
    ],
)
def test_a_handler_returns_one_event_several_or_none(answer: Any, made: list[Event]) -> None:
    account = Account("a1")
    assert decide(account, Misbehave("a1", answer)) == made
    assert account.version == len(made)


@pytest.mark.parametrize("answer", [5, "text", Open("a1", "Ann"), Noted, [Noted("a"), None], {1}])
def test_an_answer_that_is_no_event_is_refused_with_the_mend(answer: Any) -> None:
    with pytest.raises(
        InvalidMessage, match=r"handler of Account returned .*return or yield events, or None"
    ):
        definition.decide(Account("a1"), Misbehave("a1", answer))


def test_an_event_with_a_wrong_value_is_refused_before_it_is_applied() -> None:
    account, wrong = Account("a1"), Deposited("5")  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match=r"Deposited is not valid: amount='5'"):
        definition.decide(account, Misbehave("a1", wrong))
    assert (account.balance, account.version) == (Decimal(0), 0)


def test_a_refusal_carries_its_reason() -> None:
    account = Account("a1")
    decide(account, Open("a1", "Ann"))
    with pytest.raises(Rejected) as caught:
        decide(account, Open("a1", "Bob"))
    assert caught.value.reason == str(caught.value) == "already open"
    assert (account.owner, account.version) == ("Ann", 1)


def test_a_refusal_needs_no_reason() -> None:
    assert not Rejected().reason


def test_state_cannot_be_assigned_outside_apply() -> None:
    account = Account("a1")
    with pytest.raises(AttributeError, match=r"Account\.owner was assigned outside @apply; make"):
        account.owner = "thief"
    assert not account.owner


def test_state_cannot_be_assigned_in_a_handler() -> None:
    account = Account("a1")
    with pytest.raises(AttributeError, match=r"Account\.owner was assigned outside @apply"):
        definition.decide(account, Misbehave("a1", "assign"))
    assert not account.owner


def test_an_undeclared_attribute_cannot_be_assigned_in_a_handler_either() -> None:
    account: Any = Account("a1")
    with pytest.raises(AttributeError, match=r"Account\.colour"):
        account.colour = "red"


def test_state_cannot_be_assigned_again_after_apply_has_failed() -> None:
    class Fragile(Account):
        @apply(Opened)
        def _opened(self, event: Opened) -> None:
            raise ZeroDivisionError

    fragile = Fragile("a1")
    with pytest.raises(ZeroDivisionError):
        AggregateDefinition(Fragile, "bank").decide(fragile, Open("a1", "Ann"))
    with pytest.raises(AttributeError, match="outside @apply"):
        fragile.owner = "thief"


def test_the_id_and_version_cannot_be_assigned() -> None:
    account: Any = Account("a1")
    for name in ("id", "version"):
        with pytest.raises(AttributeError):
            setattr(account, name, 7)
    assert (account.id, account.version) == ("a1", 0)


def test_a_mutable_default_is_each_aggregates_own() -> None:
    one, other = Account("a1"), Account("a2")
    decide(one, Deposit("a1", [Decimal(1)]))
    assert one.entries == [Decimal(1)]
    assert other.entries == Account.entries == []


def test_the_same_events_make_the_same_state_again() -> None:
    account = Account("a1")
    made = decide(account, Open("a1", "Ann")) + decide(account, Deposit("a1", [Decimal(5)] * 3))
    again = Account("a1")
    for event in made:
        definition.evolve(again, event)
    assert again.__dict__ == account.__dict__
    assert again.version == account.version


def test_a_command_that_the_class_does_not_take_is_unknown() -> None:
    class Close(Command):
        account: str

    with pytest.raises(UnknownMessage, match=r"Account has no handler for .*Close\("):
        definition.decide(Account("a1"), Close("a1"))


def test_the_definition_knows_which_events_the_code_makes() -> None:
    assert definition.events == {Opened, Deposited, Noted}


def test_the_stream_is_category_dash_id() -> None:
    assert definition.stream_of(Open("a-1", "Ann")) == "bank::account-a-1"


def test_the_identity_may_be_any_value_that_names_something() -> None:
    class Count(Command):
        number: int

    class Counter(Aggregate, identity="number"):
        @handle(Count)
        def count(self, command: Count) -> None: ...

    counter = AggregateDefinition(Counter, "bank")
    assert counter.stream_of(Count(7)) == "bank::counter-7"


@pytest.mark.parametrize(
    ("name", "why"), [("", "empty"), ("a\0", "NUL"), ("x" * 395, "at most 400"), ("\ud800", "Unic")]
)
def test_an_id_that_cannot_be_in_a_streams_name_is_refused(name: str, why: str) -> None:
    with pytest.raises(InvalidName, match=why):
        definition.stream_of(Open(name, "Ann"))


def test_an_identity_that_is_no_id_is_refused_with_the_field() -> None:
    wrong: Any = 1.5
    with pytest.raises(InvalidMessage, match=r"account: 1\.5 is no id"):
        definition.stream_of(Open(wrong, "Ann"))


def test_a_subclass_inherits_identity_and_category() -> None:
    class Base(Account, category="vault"):
        pass

    class Child(Base):
        pass

    child = AggregateDefinition(Child, "bank")
    assert child.stream_of(Open("a1", "Ann")) == "bank::vault-a1"
    assert child.handlers.keys() == definition.handlers.keys()
