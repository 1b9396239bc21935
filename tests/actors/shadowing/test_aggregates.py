"""Aggregates through other code: what was planted is found, and nothing else."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Runtime,
    ShadowReport,
    apply,
    handle,
    rejected,
    shadow,
)
from procession.testing import VirtualClock

ROUNDS = 3


class Open(Command):
    account: str


class Opened(Event):
    account: str


class Pay(Command):
    account: str
    amount: int


class Paid(Event):
    account: str
    amount: int


class Warned(Event):
    account: str


class Opening(Aggregate, identity="account"):
    @handle(Open)
    def open(self, command: Open) -> Opened:
        return Opened(self.id)


class Account(Aggregate, identity="account", snapshot_every=2):
    paid: int = 0
    warnings: list[int] = []

    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        if command.amount > 30:
            raise Rejected(f"{self.paid} was paid")
        made: list[Event] = [Paid(self.id, command.amount)]
        if command.amount > 20:
            made.append(Warned(self.id))
        return made

    @apply(Paid)
    def _paid(self, event: Paid) -> None:
        self.paid += event.amount

    @apply(Warned)
    def _warned(self, event: Warned) -> None:
        self.warnings.append(self.paid)


class Payer(ProcessManager, correlate="account"):
    account: str = ""
    reason: str = ""

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.issue(*(Pay(self.account, 10 * one) for one in range(1, ROUNDS + 2)))

    @rejected(Pay)
    def on_refused(self, command: Pay, reason: str) -> None:
        self.reason = reason


def domain_with(*classes: type) -> Domain:
    domain = Domain("bank")
    domain.register(Opening, Payer, *classes)
    return domain


bank = domain_with(Account)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    clock = VirtualClock()
    with Runtime(folder, bank, clock=clock, durability="none", control=False) as runtime:
        for one in ("a", "b"):
            runtime.ask(Open(one))
            runtime.settle(timeout=10)
            clock.advance(timedelta(minutes=1))
    return folder


def tried(store: Path, *classes: type, **options: Any) -> ShadowReport:
    report = shadow(store, domain_with(*classes), processes=0, **options)
    assert (report.outside, report.damaged) == ((), {})
    return report


def told(report: ShadowReport) -> set[tuple[str, str, str, int, int]]:
    assert report.not_deterministic == ()
    return {
        (one.kind, f"{one.process}.{one.handler}", one.how, one.steps, one.instances)
        for one in report.differences
    }


def test_aggregates_whose_code_did_not_change_do_the_same(store: Path) -> None:
    report = shadow(store, bank, processes=0)
    assert report.differences == report.not_deterministic == ()
    # Two accounts, with three payments, a warning and a refusal each.
    assert (report.streams, report.events, report.commands, report.not_kept) == (4, 10, 8, 2)


class OtherField(Account, category="account", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        made = Account.pay(self, command)
        return [Paid(self.id, one.amount + 1) if isinstance(one, Paid) else one for one in made]


class NoWarning(Account, category="account", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        return [one for one in Account.pay(self, command) if isinstance(one, Paid)]


class Turned(Account, category="account", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        return Account.pay(self, command)[::-1]


class Stricter(Account, category="account", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        if command.amount > 10:
            raise Rejected(f"{self.paid} was paid")
        return Account.pay(self, command)


class Generous(Account, category="account", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        return [Paid(self.id, 40)] if command.amount > 30 else Account.pay(self, command)


class OtherReason(Account, category="account", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        if command.amount > 30:
            raise Rejected("no")
        return Account.pay(self, command)


class Failing(Account, category="account", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        if command.amount == 20:
            raise ValueError("no twenty")
        return Account.pay(self, command)


class OtherState(Account, category="account", snapshot_every=2):
    @apply(Warned)
    def _warned(self, event: Warned) -> None:
        self.warnings.append(0)


class CannotApply(Account, category="account", snapshot_every=2):
    @apply(Warned)
    def _warned(self, event: Warned) -> None:
        raise KeyError("warning")


class Fewer(Aggregate, identity="account", category="account", snapshot_every=2):
    paid: int = 0

    pay = Account.pay
    _paid = Account._paid


class Newer(Account, category="account", snapshot_every=2):
    limit: int = 100

    @apply(Paid)
    def _paid(self, event: Paid) -> None:
        self.paid += event.amount
        self.limit -= event.amount


AT = "bank::account.pay"

APPLIED = ("refusals", "bank::account._warned")


@pytest.mark.parametrize(
    ("other", "planted"),
    [
        (OtherField, {("events", AT, "bank.Paid.v1 has another amount", 6, 2)}),
        (NoWarning, {("events", AT, "does not make bank.Warned.v1", 2, 2)}),
        (Turned, {("events", AT, "makes in another order", 2, 2)}),
        (Stricter, {("refusals", AT, "refuses the command", 4, 2)}),
        (Generous, {("refusals", AT, "refuses the command no more", 2, 2)}),
        (OtherReason, {("refusals", AT, "refuses for another reason", 2, 2)}),
        (Failing, {("refusals", AT, "raises ValueError", 2, 2)}),
        (OtherState, {("state", "bank::account.", "warnings is another", 2, 2)}),
        (
            CannotApply,
            {
                (*APPLIED, "raises KeyError when bank.Warned.v1 is applied", 2, 2),
                ("refusals", AT, "raises KeyError", 2, 2),
            },
        ),
        (Fewer, {("state", "bank::account.", "warnings is not kept", 2, 2)}),
        (Newer, set()),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_each_change_of_an_aggregate_is_found_and_nothing_else(
    store: Path, other: type[Account], planted: set[tuple[str, str, str, int, int]]
) -> None:
    assert told(tried(store, other)) == planted


def test_an_example_of_an_aggregate_says_what_it_made_and_makes(store: Path) -> None:
    [one] = tried(store, OtherField).differences
    assert (one.of, one.running) == ("aggregates", 0)
    example = one.example
    assert (example.instance, example.version) == ("a", 1)
    assert (example.stored, example.now) == ("10", "11")
    assert "6 steps of 2 aggregates, as 'a' at version 1: 10 → 11" in str(one)


def test_what_an_aggregate_makes_by_chance_is_no_difference(store: Path) -> None:
    count = iter(range(1_000))

    class Random(Account, category="account", snapshot_every=2):
        @handle(Pay)
        def pay(self, command: Pay) -> list[Event]:
            made = Account.pay(self, command)
            return [Paid(self.id, next(count)) if isinstance(one, Paid) else one for one in made]

    report = tried(store, Random)
    assert report.differences == ()
    assert {one.how for one in report.not_deterministic} == {"bank.Paid.v1 has another amount"}


def test_an_aggregate_that_is_tried_reaches_nothing_outside(store: Path, tmp_path: Path) -> None:
    class Writing(Account, category="account", snapshot_every=2):
        @handle(Pay)
        def pay(self, command: Pay) -> list[Event]:
            (tmp_path / "written").write_text("x")
            return []

    report = shadow(store, domain_with(Writing), processes=0)
    assert report.differences == ()
    assert {(one.process, one.handler) for one in report.outside} == {("bank::account", "pay")}
    assert list(tmp_path.iterdir()) == []


def test_aggregates_that_no_class_has_any_more_are_found(store: Path) -> None:
    gone = Domain("bank")
    gone.register(Opening, Opened)
    differences = shadow(store, gone, processes=0).differences
    assert {(one.how, one.of, one.instances) for one in differences} == {
        ("no class is called bank.Payer", "instances", 2),
        ("no aggregate has the category bank::account", "aggregates", 2),
    }


def test_most_aggregates_of_a_sample_are_as_many_as_are_asked_for(store: Path) -> None:
    report = tried(store, OtherField, sample=1)
    assert (report.instances, report.streams) == (1, 2)
    assert [one.instances for one in report.differences] == [1]


# What is not there any more


@pytest.fixture
def filled(tmp_path: Path) -> Callable[[Callable[[Runtime], object]], Path]:
    def fill(then: Callable[[Runtime], object]) -> Path:
        with Runtime(tmp_path, bank, durability="none", control=False) as runtime:
            for one in ("a", "b"):
                runtime.ask(Open(one))
            runtime.settle(timeout=10)
            then(runtime)
        return tmp_path

    return fill


@pytest.mark.parametrize(
    "erase",
    [
        lambda runtime: runtime.erase(Account, "a"),
        lambda runtime: runtime.erase(Payer, "a"),
        lambda runtime: runtime.erase(Opening, "a"),
    ],
    ids=["aggregate", "instance", "cause"],
)
def test_what_was_erased_is_no_difference(
    filled: Callable[[Callable[[Runtime], object]], Path], erase: Callable[[Runtime], object]
) -> None:
    assert told(tried(filled(erase), Account)) == set()
