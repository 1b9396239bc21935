"""Events and commands: how they are written, built and compared, and what is refused."""

from __future__ import annotations

import types
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from procession import Command, DefinitionError, Event
from procession.messages.codec import codecs


def packed(message: Event | Command) -> bytes:
    return codecs[type(message)].dump(message)


class OrderPlaced(Event):
    order_id: str
    total: Decimal
    note: str = ""


class RequestPayment(Command):
    order_id: str
    amount: Decimal = Decimal(0)


class Renamed(Event, name="Billing.PaymentReceived.v3"):
    order_id: str


class Second(Event, version=2):
    order_id: str


class Tagged(Event):
    tags: list[str] = []


@dataclass
class Place:
    street: str


class Holder(Event):
    inner: OrderPlaced
    places: dict[str, Place]


def test_a_message_is_built_by_keyword_or_in_field_order() -> None:
    by_keyword = OrderPlaced(total=Decimal(9), order_id="o1", note="soon")
    assert OrderPlaced("o1", Decimal(9), "soon") == by_keyword
    assert OrderPlaced("o1", total=Decimal(9), note="soon") == by_keyword
    assert (by_keyword.order_id, by_keyword.total, by_keyword.note) == ("o1", Decimal(9), "soon")


def test_a_field_that_is_left_out_has_its_default() -> None:
    assert not OrderPlaced("o1", Decimal(9)).note
    assert RequestPayment("o1").amount == Decimal(0)


def test_a_message_without_a_required_field_is_not_built() -> None:
    with pytest.raises(TypeError, match="Missing required argument 'total'"):
        OrderPlaced("o1")  # type: ignore[call-arg]


def test_a_message_with_an_unknown_field_is_not_built() -> None:
    with pytest.raises(TypeError, match="Unexpected keyword argument 'totl'"):
        OrderPlaced("o1", totl=Decimal(9))  # type: ignore[call-arg]


def test_a_message_with_too_many_values_is_not_built() -> None:
    with pytest.raises(TypeError, match="positional"):
        RequestPayment("o1", Decimal(9), "more")  # type: ignore[call-arg]


@pytest.mark.parametrize("message", [OrderPlaced("o1", Decimal(9)), RequestPayment("o1")])
def test_a_field_of_a_message_cannot_be_assigned_or_deleted(message: Event | Command) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        message.order_id = "o2"  # type: ignore[union-attr]
    with pytest.raises(AttributeError):
        del message.order_id  # type: ignore[union-attr]
    assert message.order_id == "o1"  # type: ignore[union-attr]


def test_an_attribute_cannot_be_added_to_a_message() -> None:
    with pytest.raises(AttributeError):
        OrderPlaced("o1", Decimal(9)).colour = "red"  # type: ignore[attr-defined]


def test_messages_compare_by_value() -> None:
    one = OrderPlaced("o1", Decimal(9))
    assert one == OrderPlaced("o1", Decimal(9))
    assert one is not OrderPlaced("o1", Decimal(9))
    assert one != OrderPlaced("o2", Decimal(9))
    assert len({one, OrderPlaced("o1", Decimal(9))}) == 1


def test_messages_of_two_classes_are_never_equal() -> None:
    assert Second("o1") != Renamed("o1")  # type: ignore[comparison-overlap]


def test_a_message_shows_its_fields() -> None:
    assert repr(RequestPayment("o1", Decimal(9))) == (
        "RequestPayment(order_id='o1', amount=Decimal('9'))"
    )


def test_a_mutable_default_is_each_messages_own() -> None:
    one, other = Tagged(), Tagged()
    one.tags.append("red")
    assert other.tags == []
    assert Tagged().tags == []


def test_a_message_class_may_extend_another() -> None:
    class OrderPlacedAbroad(OrderPlaced):
        country: str = "FR"

    event = OrderPlacedAbroad("o1", Decimal(9), country="DE")
    assert (event.order_id, event.country) == ("o1", "DE")
    assert isinstance(event, OrderPlaced)


def test_a_message_class_may_have_methods_properties_and_class_variables() -> None:
    class Rated(Event):
        limit: ClassVar[int] = 5
        stars: int

        @property
        def is_best(self) -> bool:
            return self.stars == self.limit

        @classmethod
        def best(cls) -> Rated:
            return cls(cls.limit)

        @staticmethod
        def worst() -> int:
            return 1

        def half(self) -> float:
            return self.stars / 2

    assert Rated.best().is_best
    assert Rated.worst() == 1
    assert Rated(3).half() == 1.5
    assert codecs[Rated].load(packed(Rated(3))) == Rated(3)


def test_a_message_class_has_no_wire_name_of_its_own_unless_it_says_so() -> None:
    assert (OrderPlaced.__wire_name__, OrderPlaced.__wire_version__) == (None, 1)
    assert (Second.__wire_name__, Second.__wire_version__) == (None, 2)
    assert (Renamed.__wire_name__, Renamed.__wire_version__) == ("Billing.PaymentReceived.v3", 3)


def test_a_wire_name_is_not_inherited() -> None:
    class Later(Renamed):
        pass

    assert (Later.__wire_name__, Later.__wire_version__) == (None, 1)


def define(**keywords: Any) -> type:
    """Define an event with class keywords that a type checker would refuse."""
    return types.new_class("Paid", (Event,), keywords, lambda body: body.update(__module__="shop"))


@pytest.mark.parametrize(
    "name", ["", "Paid", "Paid.v1", "A.Paid", "A.Paid.1", "A.B.Paid.v1", "A B.Paid.v1", "A.Paid.vx"]
)
def test_a_malformed_wire_name_is_refused_with_the_right_form(name: str) -> None:
    with pytest.raises(DefinitionError, match=r'shop\.Paid: name=.*"Billing\.Paid\.v1"'):
        define(name=name)


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_below_one_is_refused(version: int) -> None:
    with pytest.raises(DefinitionError, match=rf"shop\.Paid: version={version}; versions start"):
        define(version=version)


def test_a_wire_name_of_version_zero_is_refused() -> None:
    with pytest.raises(DefinitionError, match="versions start at 1"):
        define(name="A.Paid.v0")


def test_a_name_and_a_version_that_disagree_are_refused() -> None:
    with pytest.raises(DefinitionError, match="disagree; give one of them"):
        define(name="A.Paid.v1", version=2)


def test_a_name_and_a_version_may_agree() -> None:
    assert define(name="A.Paid.v2", version=2).__name__ == "Paid"


def test_an_unknown_class_keyword_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"shop\.Paid.*'nam'"):
        define(nam="A.Paid.v1")


def test_a_field_without_annotation_is_refused_with_the_mend() -> None:
    with pytest.raises(DefinitionError, match=r"Paid\.amount .*write `amount: int = 3`"):

        class Paid(Event):
            amount = 3


def test_a_required_field_behind_an_optional_one_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Paid: Required field 'amount'"):

        class Paid(Event):
            note: str = ""
            amount: int  # type: ignore[misc]


def test_a_default_that_all_messages_would_share_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Paid: .*mutable"):

        class Paid(Event):
            tags: list[str] = ["red"]


def test_a_message_may_hold_another_message_and_a_dataclass() -> None:
    event = Holder(OrderPlaced("o1", Decimal(9)), {"to": Place("Main Street")})
    assert event == Holder(OrderPlaced("o1", Decimal(9)), {"to": Place("Main Street")})
    assert event != Holder(OrderPlaced("o1", Decimal(9)), {"to": Place("Side Street")})


def test_the_name_of_a_field_may_be_name_version_or_type() -> None:
    class Odd(Event):
        name: str
        version: int
        type: str

    odd = Odd("n", 7, "t")
    assert codecs[Odd].load(packed(odd)) == odd
    assert (Odd.__wire_name__, Odd.__wire_version__) == (None, 1)
