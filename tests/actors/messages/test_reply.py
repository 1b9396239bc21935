"""What `ask` answers: a list of events that knows where they are."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    InvalidMessage,
    Reply,
    Runtime,
    handle,
)
from procession.messages.outcomes_said import events_said_by
from procession.testing import Simulation

WAIT = 20

T = TypeVar("T")

shop = Domain("shop")


class Paid(Event):
    order: str
    part: int


class Failed(Event):
    order: str


class Named(Command["Paid"]):
    order: str


class Plain(Command):
    order: str


class Whatever(Command[Any]):
    order: str


class WrongKind(Command[int]):
    order: str


class Unknown(Command["Nowhere"]):  # type: ignore[name-defined]
    order: str


def account(command: type[Command[Event]]) -> type[Aggregate]:
    class Account(Aggregate, identity="order"):
        @handle(command)
        def go(self, command: Any) -> Any: ...

    return Account


class Pay(Command[Paid | Failed]):
    order: str
    parts: int


@shop.register
class Payment(Aggregate, identity="order"):
    @handle(Pay)
    def pay(self, command: Pay) -> Iterator[Paid | Failed] | None:
        return (Paid(self.id, part) for part in range(command.parts)) if command.parts else None


def test_a_reply_is_a_list_of_the_events_with_the_position_of_the_newest_and_the_commands_id(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path, shop) as runtime:
        runtime.publish(Failed("o0"), stream="bank-1")
        reply = runtime.ask(Pay("o1", 2), command_id="c1")
        assert reply == [Paid("o1", 0), Paid("o1", 1)]
        assert (reply.position, reply.command_id) == (3, "c1")
        assert [stored.position for stored in runtime.events(after=reply.position)] == []
        made = runtime.ask(Pay("o2", 1))
        assert made.position == 4
        [stored] = runtime.events(after=reply.position)
        assert stored.causation_id == made.command_id
    with Runtime(tmp_path, shop) as runtime:
        again = runtime.ask(Pay("o1", 2), command_id="c1")
        assert (again, again.position, again.command_id) == (reply, 3, "c1")


def test_a_reply_without_events_has_position_0() -> None:
    with Runtime.ephemeral(shop) as runtime:
        for _ in range(2):
            reply = runtime.ask(Pay("o1", 0), command_id="c1")
            assert (reply, reply.position, reply.command_id) == ([], 0, "c1")


def test_a_simulation_replies_as_a_runtime_does() -> None:
    with Simulation(shop) as simulation:
        reply = simulation.ask(Pay("o1", 1), command_id="c1")
        assert (reply, reply.position, reply.command_id) == ([Paid("o1", 0)], 1, "c1")


def test_a_reply_says_all_that_it_is_and_can_be_copied_and_pickled() -> None:
    reply = Reply([1, 2], position=7, command_id="c1")
    assert repr(reply) == "Reply([1, 2], position=7, command_id='c1')"
    for other in (copy.copy(reply), copy.deepcopy(reply), pickle.loads(pickle.dumps(reply))):
        assert (other, other.position, other.command_id) == ([1, 2], 7, "c1")


def test_an_event_that_a_command_does_not_say_is_refused_and_nothing_is_kept() -> None:
    class Charge(Command[Paid]):
        order: str

    bank = Domain("bank")

    @bank.register
    class Account(Aggregate, identity="order"):
        @handle(Charge)
        def charge(self, command: Charge) -> Any:
            return Failed(self.id) if self.id == "o2" else Paid(self.id, 1)

    with Runtime.ephemeral(bank) as runtime:
        assert runtime.ask(Charge("o1")) == [Paid("o1", 1)]
        with pytest.raises(InvalidMessage, match=r"Account.charge made Failed.* come of it: Paid;"):
            runtime.ask(Charge("o2"))
        assert len(list(runtime.events())) == 1


def test_a_command_says_its_events_by_name_through_its_base_class_and_with_fields_of_its_own() -> (
    None
):
    assert events_said_by(Pay) == (Paid, Failed)
    assert events_said_by(type("Derived", (Pay,), {})) == (Paid, Failed)
    assert events_said_by(Named) == (Paid,)
    assert events_said_by(Command) == events_said_by(Plain) == events_said_by(Whatever) == ()
    assert Named("o1") == Named(order="o1")
    bank = Domain("bank")
    cases: list[tuple[Any, str]] = [
        (WrongKind, "which is no event"),
        (Unknown, "names 'Nowhere'"),
    ]
    for wrong, said in cases:
        with pytest.raises(DefinitionError, match=said):
            bank.register(account(wrong))


def test_a_type_variable_in_a_field_is_refused_as_in_any_message() -> None:
    class Wrong(Command[Paid]):
        order: str
        value: T  # type: ignore[valid-type]

    bank = Domain("bank")
    with pytest.raises(DefinitionError, match=r"Wrong.value"):
        bank.register(account(Wrong))
