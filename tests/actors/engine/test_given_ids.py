"""An id from outside keeps what it stood for: the same again is answered, anything else refused."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    IdReused,
    Rejected,
    Runtime,
    handle,
    upcast,
)
from procession.store import compact
from procession.testing import Simulation, Tell, VirtualClock

bank = Domain("bank")


class Reason(Enum):
    EMPTY = "empty"


class Overdrawn(Rejected):
    """Carries what the caller needs."""

    def __init__(self, missing: Decimal, at: datetime, account: object) -> None:
        super().__init__(f"{missing} too little")
        self.missing = missing
        self.at = at
        self.why = (Reason.EMPTY, {UUID(int=1)}, {"days": timedelta(2)})
        self.account = account


class Deposited(Event):
    name: str
    amount: int
    tags: set[str] = set()


class Deposit(Command):
    name: str
    amount: int
    tags: set[str] = set()


class Withdraw(Command):
    name: str
    amount: int


class Break(Command):
    name: str


gate = threading.Event()


@bank.register
class Account(Aggregate, identity="name"):
    total: int = 0

    @handle(Deposit)
    def deposit(self, command: Deposit) -> Deposited:
        gate.wait(20)
        return Deposited(command.name, command.amount, command.tags)

    @handle(Withdraw)
    def withdraw(self, command: Withdraw) -> None:
        raise Overdrawn(Decimal("1.50"), datetime(2020, 1, 2, tzinfo=UTC), object())

    @handle(Break)
    def break_it(self, command: Break) -> None:
        raise ZeroDivisionError(command.name)


bank.register(Deposited)


@pytest.fixture(autouse=True)
def opened_gate() -> Iterator[None]:
    gate.set()
    yield
    gate.set()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(tmp_path, bank, clock=VirtualClock(), durability="none") as runtime:
        yield runtime


OTHERS: dict[str, Command] = {
    "another aggregate": Deposit("ben", 7),
    "another amount": Deposit("ada", 6),
    "another command": Withdraw("ada", 5),
    "another set": Deposit("ada", 5, {"gift"}),
}
FIRST = Deposit("ada", 5)


@pytest.mark.parametrize("how", ["ask", "tell", "tell_many"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("first", ["ask", "tell"])
def test_another_command_under_an_id_is_refused_and_says_what_the_id_stands_for(
    runtime: Runtime, first: str, other: Command, how: str
) -> None:
    getattr(runtime, first)(FIRST, command_id="k")
    given: Any = (lambda _: "k") if how == "tell_many" else "k"
    what: Any = [other] if how == "tell_many" else other
    with pytest.raises(IdReused, match=r"command_id='k' is that of the bank\.Deposit\.v1") as said:
        getattr(runtime, how)(what, command_id=given)
    runtime.settle()
    assert (said.value.id, said.value.type) == ("k", "bank.Deposit.v1")
    assert (said.value.stream, said.value.time) == ("bank::account-ada", runtime.clock.now())
    assert [one.event for one in runtime.events()] == [Deposited("ada", 5)]
    assert runtime.ask(FIRST, command_id="k") == [Deposited("ada", 5)]
    assert not list(runtime.parked())


def test_another_command_is_refused_while_the_first_is_queued(runtime: Runtime) -> None:
    gate.clear()
    runtime.tell(Deposit("ada", 1))
    told = runtime.tell(FIRST)
    runtime.tell(FIRST, command_id="k")
    assert runtime.tell(FIRST, command_id="k") == "k"
    for used in ("k", told):
        with pytest.raises(IdReused):
            runtime.tell(Deposit("ben", 7), command_id=used)
    gate.set()
    runtime.settle()
    assert [one.event.amount for one in runtime.events()] == [1, 5, 5]  # type: ignore[attr-defined]


def test_another_command_is_refused_while_the_first_is_parked_and_behind_a_reopening(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path, bank, durability="none") as runtime:
        runtime.tell(Break("ada"), command_id="k")
        runtime.settle()
    with Runtime(tmp_path, bank, durability="none") as runtime:
        (parked,) = runtime.parked()
        with pytest.raises(IdReused):
            runtime.tell(FIRST, command_id="k")
        with pytest.raises(IdReused):
            runtime.ask(FIRST, command_id="k")
        # The same waits for a person, as it did.
        assert runtime.tell(Break("ada"), command_id="k") == "k"
        runtime.retry(parked.id)
        runtime.settle()
        assert [one.cause for one in runtime.parked()] == ["k"]
        assert not list(runtime.events())


def test_a_command_that_failed_for_a_caller_who_waited_leaves_its_id_free(runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError):
        runtime.ask(Break("ada"), command_id="k")
    assert runtime.ask(FIRST, command_id="k") == [Deposited("ada", 5)]


def test_one_reused_id_refuses_its_entry_of_a_batch_and_no_other(runtime: Runtime) -> None:
    runtime.ask(FIRST, command_id="2")
    many = [Deposit("ben", number) for number in range(1_500)]
    with pytest.raises(IdReused, match=r"^entry 2: command_id='2' is that of") as said:
        runtime.tell_many(many, command_id=lambda one: str(one.amount))
    assert said.value.places == (2,)
    runtime.settle()
    assert sum(1 for _ in runtime.events("bank::account-ben")) == 1_499
    with pytest.raises(IdReused) as said:
        runtime.tell_many([*many[:3], Deposit("cy", 0)], command_id=lambda one: str(one.amount))
    assert said.value.places == (2, 3)


def test_two_of_one_id_in_a_batch_are_one_if_they_are_the_same(runtime: Runtime) -> None:
    assert runtime.tell_many([FIRST, FIRST], command_id=lambda _: "k") == ["k", "k"]
    with pytest.raises(IdReused) as said:
        runtime.tell_many([Deposit("x", 1), Deposit("x", 2)], command_id=lambda _: "x")
    assert said.value.places == (1,)
    runtime.settle()
    assert [one.event for one in runtime.events()] == [Deposited("ada", 5), Deposited("x", 1)]


def test_another_event_under_an_id_is_refused_and_so_is_another_stream(runtime: Runtime) -> None:
    event = Deposited("ada", 5, {"a", "b"})
    assert runtime.publish(event, stream="feed-1", event_id="e", headers={"try": 1}) == 1
    assert runtime.publish(event, stream="feed-1", event_id="e", headers={"try": 2}) == 1
    for other, stream in ((Deposited("ada", 6), "feed-1"), (event, "feed-2")):
        with pytest.raises(IdReused, match=r"at position 1, in stream 'feed-1'") as said:
            runtime.publish(other, stream=stream, event_id="e")
        assert (said.value.position, said.value.stream) == (1, "feed-1")
        new = Deposited(f"new {stream}", 1)
        with pytest.raises(IdReused) as said:
            runtime.publish_many(
                [new, other],
                stream=stream,
                event_id=lambda one: "e" if one.name == "ada" else one.name,
            )
        assert said.value.places == (1,)
    # What commands and events are given are names of two kinds.
    runtime.ask(FIRST, command_id="e")
    assert [one.event_id for one in runtime.events("feed")] == ["e", "new feed-1", "new feed-2"]


def test_a_refused_command_is_refused_again_by_the_same_class_with_its_fields(
    tmp_path: Path,
) -> None:
    command = Withdraw("ada", 5)
    raised = []
    for _ in range(2):
        with (
            Runtime(tmp_path, bank, durability="none") as runtime,
            pytest.raises(Overdrawn, match=r"^1\.50 too little") as error,
        ):
            runtime.ask(command, command_id="k")
        raised.append(error)
    first, again = raised
    assert again.value.reason == "1.50 too little"
    assert (again.value.missing, again.value.at) == (first.value.missing, first.value.at)
    assert again.value.why == first.value.why
    # What cannot be stored is not there, and the error says so.
    assert not hasattr(again.value, "account")
    (note,) = again.value.__notes__
    assert "its attribute 'account', which could not be stored" in note


@pytest.mark.parametrize("how", ["backup", "compact"])
def test_a_copy_of_a_store_knows_its_ids(tmp_path: Path, how: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with Runtime(source, bank, durability="none") as runtime:
        runtime.ask(FIRST, command_id="k")
        if how == "backup":
            runtime.backup(target)
    if how == "compact":
        compact(source, target)
    with Runtime(target, bank, durability="none") as runtime:
        assert runtime.ask(FIRST, command_id="k") == [Deposited("ada", 5)]
        with pytest.raises(IdReused):
            runtime.ask(Deposit("ben", 7), command_id="k")
        assert runtime.verify() == []


def shop(version: int) -> tuple[Domain, type[Command], type[Event]]:
    """A service before and after its command and its event have another version."""
    domain = Domain("shop")

    if version == 1:

        class Pay(Command):
            name: str
            amount: int

        class Paid(Event):
            name: str
            amount: int

    else:

        class Pay(Command, version=2):  # type: ignore[no-redef]
            name: str
            cents: int

        class Paid(Event, version=2):  # type: ignore[no-redef]
            name: str
            cents: int

        @domain.register
        @upcast("Pay", from_version=1)
        @upcast("Paid", from_version=1)
        def cents(old: dict[str, Any]) -> dict[str, Any]:
            return {"name": old["name"], "cents": old["amount"] * 100}

    @domain.register
    class Till(Aggregate, identity="name"):
        @handle(Pay)
        def pay(self, command: Any) -> Any:
            return Paid(command.name, getattr(command, "amount", 0) or command.cents)

    domain.register(Paid)
    return domain, Pay, Paid


def test_another_version_of_a_type_is_the_same_type(tmp_path: Path) -> None:
    domain, pay, paid = shop(1)
    with Runtime(tmp_path, domain, durability="none") as runtime:
        runtime.ask(pay("ada", 5), command_id="k")
        runtime.publish(paid("ada", 5), stream="feed-1", event_id="e")
    domain, pay, paid = shop(2)
    with Runtime(tmp_path, domain, durability="none") as runtime:
        assert runtime.ask(pay("ada", 500), command_id="k") == [paid("ada", 500)]
        assert runtime.tell(pay("ada", 500), command_id="k") == "k"
        assert runtime.publish(paid("ada", 500), stream="feed-1", event_id="e") == 2
        # What it is for can be compared all the same.
        with pytest.raises(IdReused):
            runtime.ask(pay("ben", 500), command_id="k")
        with pytest.raises(IdReused):
            runtime.publish(paid("ada", 500), stream="feed-2", event_id="e")
        runtime.settle()
        assert sum(1 for _ in runtime.events()) == 2


def test_equal_messages_are_the_same_however_they_are_written(runtime: Runtime) -> None:
    letters, other_way = set[str](), set[str]()
    for number in range(26):
        letters.add(chr(97 + number))
        other_way.add(chr(122 - number))
    runtime.ask(Deposit("ada", 5, letters), command_id="k")
    again = runtime.ask(Deposit("ada", 5, other_way), command_id="k")
    assert [one.event for one in runtime.events()] == again


def test_a_client_that_sends_another_command_under_its_id_is_refused_in_a_simulation() -> None:
    program = [Tell(FIRST, command_id="k"), Tell(Deposit("ben", 7), command_id="k"), FIRST]
    with Simulation(bank, program=program, seed=7, faults=("order", "crash", "commit")) as run:
        run.run()
        assert [one.event for one in run.events()] == [Deposited("ada", 5)] * 2
        assert "client is refused: command_id='k' is that of" in str(run.trace)
        with pytest.raises(IdReused):
            run.ask(Deposit("ben", 7), command_id="k")
        with pytest.raises(IdReused):
            run.tell(Deposit("ben", 7), command_id="k")
