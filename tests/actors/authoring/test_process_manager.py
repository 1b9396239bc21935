"""A process manager as a plain object, and its definition: no thread, no store."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from procession import (
    Command,
    Context,
    Event,
    InvalidMessage,
    InvalidName,
    ProcessManager,
    handle,
)
from procession.model.process_definition import ProcessDefinition
from procession.store import EventRecord


class Placed(Event):
    order_id: str
    total: Decimal = Decimal(1)


class Paid(Event):
    order_id: str


class Shipped(Event):
    orders: list[str | int]


class Pay(Command):
    order_id: str
    amount: Decimal = Decimal(1)


class Ship(Command):
    order_id: str


class Fulfilment(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"
    log: list[str] = []

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.status = "awaiting payment"
        self.log.append("placed")
        self.issue(Pay(event.order_id, event.total), Ship(event.order_id))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.status = "paid"
        self.mark_as_complete()


definition = ProcessDefinition(Fulfilment, "shop")


# What the runtime sees of an object; nothing below leans on how it is kept.


def packed_commands_of(process: ProcessManager) -> list[bytes]:
    return [packed for _, _, packed, *_ in process._unit.issued]


def is_complete(process: ProcessManager) -> bool:
    return process._unit.complete


def hand_over(process: ProcessManager, record: EventRecord) -> None:
    process._unit.context = Context.of(record, 0)


def ids_of(definition: ProcessDefinition, event: Event) -> list[str]:
    return definition.correlations[type(event)].ids(event)


# The plain object


def test_an_instance_begins_with_the_defaults() -> None:
    process = Fulfilment()
    assert (process.id, process.version) == ("", 0)
    assert (process.order_id, process.status, process.log) == ("", "new", [])


def test_an_instance_may_be_made_with_an_id_and_fields() -> None:
    process = Fulfilment("o1", status="paid", log=["placed"])
    assert (process.id, process.status, process.log) == ("o1", "paid", ["placed"])


def test_an_instance_is_not_made_with_an_unknown_field() -> None:
    with pytest.raises(TypeError, match="Fulfilment has no field 'statsu'"):
        Fulfilment("o1", statsu="paid")


def test_a_mutable_default_is_each_instances_own() -> None:
    one, other = Fulfilment("o1"), Fulfilment("o2")
    one.log.append("placed")
    assert other.log == []
    assert Fulfilment.log == []


def test_the_id_and_version_cannot_be_assigned() -> None:
    process: Any = Fulfilment("o1")
    with pytest.raises(AttributeError):
        process.id = "o2"
    with pytest.raises(AttributeError):
        process.version = 7
    assert (process.id, process.version) == ("o1", 0)


def test_a_handler_can_be_called_like_any_method() -> None:
    process = Fulfilment("o1")
    process.on_placed(Placed("o1", Decimal(9)))
    assert process.status == "awaiting payment"
    assert process.issued == (Pay("o1", Decimal(9)), Ship("o1"))


def test_commands_keep_the_order_in_which_they_were_issued() -> None:
    process = Fulfilment("o1")
    process.issue(Ship("1"), Pay("2"))
    process.issue()
    process.issue(Ship("3"))
    assert process.issued == (Ship("1"), Pay("2"), Ship("3"))


@pytest.mark.parametrize("wrong", [Paid("o1"), "Pay", None, Pay, [Pay("o1")]])
def test_only_commands_can_be_issued(wrong: Any) -> None:
    process = Fulfilment("o1")
    with pytest.raises(InvalidMessage, match="issue takes commands, not "):
        process.issue(wrong)
    assert process.issued == ()


def test_a_command_with_a_wrong_value_is_refused_where_it_is_issued() -> None:
    wrong: Any = "9"
    with pytest.raises(InvalidMessage, match=r"Pay is not valid: amount='9'"):
        Fulfilment("o1").issue(Pay("o1", wrong))


def test_an_issued_command_is_what_it_was_when_it_was_issued() -> None:
    class Tag(Command):
        tags: list[str]

    process, tags = Fulfilment("o1"), ["red"]
    process.issue(Tag(tags))
    tags.append("blue")
    [packed] = packed_commands_of(process)
    assert b"red" in packed
    assert b"blue" not in packed


def test_there_is_no_context_while_no_event_is_handled() -> None:
    with pytest.raises(RuntimeError, match="only while an event is being handled"):
        _ = Fulfilment("o1").context


def test_the_context_is_that_of_the_event_in_hand() -> None:
    process = Fulfilment("o1")
    record = EventRecord("shop.Paid.v1", "shop::payment-o1", 1, 0, b"", "e1", "c1")
    hand_over(process, record)
    assert isinstance(process.context, Context)
    assert process.context.event_id == "e1"
    assert process.context is process.context


def test_mark_as_complete_says_that_the_process_has_ended() -> None:
    process = Fulfilment("o1")
    assert not is_complete(process)
    process.on_paid(Paid("o1"))
    assert is_complete(process)


# Its state


def test_the_state_after_a_handler_is_restored_in_a_new_object() -> None:
    process = Fulfilment("o1")
    process.on_placed(Placed("o1"))
    restored = definition.restore("o1", 3, definition.state.exchange(process.__dict__)[0], 1)
    assert isinstance(restored, Fulfilment)
    assert (restored.id, restored.version) == ("o1", 3)
    assert (restored.status, restored.log) == ("awaiting payment", ["placed"])
    assert restored.issued == ()
    assert not is_complete(restored)


def test_assigning_an_undeclared_attribute_is_refused_when_the_state_is_packed() -> None:
    process: Any = Fulfilment("o1")
    process.statsu = "paid"
    with pytest.raises(InvalidMessage, match=r"self\.statsu is no declared field of Fulfilment"):
        definition.state.exchange(process.__dict__)


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", 5), ("status", None), ("log", ("placed",)), ("log", [1]), ("log", "placed")],
)
def test_assigning_a_wrongly_typed_value_is_refused_when_the_state_is_packed(
    name: str, value: Any
) -> None:
    process = Fulfilment("o1")
    setattr(process, name, value)
    with pytest.raises(InvalidMessage, match=rf"state of Fulfilment is not valid: .*\b{name}\b"):
        definition.state.exchange(process.__dict__)


def test_deleting_a_field_is_refused_when_the_state_is_packed() -> None:
    process = Fulfilment("o1", status="paid")
    del process.status
    with pytest.raises(InvalidMessage, match=r"self\.status of Fulfilment was deleted"):
        definition.state.exchange(process.__dict__)


def test_private_attributes_of_ours_are_no_state() -> None:
    assert Fulfilment("o1").__dict__.keys() == {"order_id", "status", "log"}


# Its definition


def test_the_definition_is_called_after_domain_and_class() -> None:
    assert definition.name == "shop.Fulfilment"


def test_the_definition_knows_which_commands_the_code_issues() -> None:
    assert definition.commands == {Pay, Ship}


def correlating(correlate: Any, event: type[Event] = Placed) -> ProcessDefinition:
    class Any_(ProcessManager, correlate=correlate):  # noqa: N801
        own: str = ""

        @handle(event, start=True)
        def on_event(self, event: Event) -> None: ...

    return ProcessDefinition(Any_, "shop")


def test_a_field_name_takes_the_id_from_that_field() -> None:
    assert ids_of(correlating("order_id"), Placed("o1")) == ["o1"]


def test_a_mapping_takes_the_id_from_the_events_field() -> None:
    assert ids_of(correlating({"own": "order_id"}), Placed("o1")) == ["o1"]


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ("o1", ["o1"]),
        (7, ["7"]),
        (UUID(int=1), [str(UUID(int=1))]),
        (None, []),
        ([], []),
        (["o1", "o2"], ["o1", "o2"]),
        (("o2", "o1", "o2", 1, "1"), ["o2", "o1", "1"]),
        (["o1", None], ["o1"]),
        ({"o1": 1}, ["o1"]),
        (iter(["o1", "o2"]), ["o1", "o2"]),
    ],
)
def test_a_function_answers_with_an_id_many_ids_or_none(answer: Any, ids: list[str]) -> None:
    assert ids_of(correlating(lambda event: answer), Placed("x")) == ids


def test_a_field_of_many_ids_names_many_instances_each_once() -> None:
    by_orders = correlating("orders", Shipped)
    assert ids_of(by_orders, Shipped(["o1", 2, "o1", "2"])) == ["o1", "2"]
    assert ids_of(by_orders, Shipped([])) == []


@pytest.mark.parametrize("answer", [1.5, True, b"o1", [["o1"]], [b"o1"], object()])
def test_an_answer_that_is_no_id_is_refused_with_the_handlers_name(answer: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"Any_\.on_event: .* is no id"):
        ids_of(correlating(lambda event: answer), Placed("x"))


@pytest.mark.parametrize("answer", ["", "x" * 401, ["o1", "a\0b"]])
def test_an_id_that_cannot_be_a_key_is_refused_with_the_handlers_name(answer: Any) -> None:
    with pytest.raises(InvalidName, match=r"Any_\.on_event"):
        ids_of(correlating(lambda event: answer), Placed("x"))


def test_a_handlers_own_correlation_wins_over_the_class() -> None:
    class Mixed(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

        @handle(Paid, correlate=lambda event: f"paid {event.order_id}")
        def on_paid(self, event: Paid) -> None: ...

    mixed = ProcessDefinition(Mixed, "shop")
    assert ids_of(mixed, Placed("o1")) == ["o1"]
    assert ids_of(mixed, Paid("o1")) == ["paid o1"]


def test_a_subclass_inherits_the_correlation_and_may_change_it() -> None:
    class Same(Fulfilment):
        pass

    class Changed(Fulfilment, correlate=lambda event: event.order_id.upper()):
        pass

    assert ids_of(ProcessDefinition(Same, "shop"), Paid("o1")) == ["o1"]
    assert ids_of(ProcessDefinition(Changed, "shop"), Paid("o1")) == ["O1"]
    assert ids_of(definition, Paid("o1")) == ["o1"]


def test_a_new_instance_has_the_field_that_correlate_names() -> None:
    begun = definition.begin("o1", Placed("o1"))
    assert isinstance(begun, Fulfilment)
    assert (begun.id, begun.version, begun.order_id) == ("o1", 0, "o1")


def test_a_new_instance_has_the_own_field_of_a_mapping() -> None:
    begun: Any = correlating({"own": "order_id"}).begin("o1", Placed("o1"))
    assert begun.own == "o1"


def test_a_new_instance_of_a_function_has_only_its_id() -> None:
    begun: Any = correlating(lambda event: "x1").begin("x1", Placed("o1"))
    assert (begun.id, begun.own) == ("x1", "")


def test_an_id_from_an_enum_member_is_its_value() -> None:
    class Desk(Enum):
        NORTH = "north"

    class Moved(Event):
        desk: Desk

    assert ids_of(correlating("desk", Moved), Moved(Desk.NORTH)) == ["north"]
