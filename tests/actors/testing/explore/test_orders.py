"""The orders of the clients: each has a number, and none has two."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import Event
from procession.testing import Publish
from procession.testing.explore.orders import Orders


class Called(Event):
    name: str


few = st.lists(st.integers(0, 3), max_size=3).map(tuple)
many = st.lists(st.integers(0, 12), min_size=1, max_size=8).map(tuple)


@given(few)
def test_numbers_stand_for_all_orders_by_the_alphabet(messages: tuple[int, ...]) -> None:
    word = [client for client, count in enumerate(messages) for _ in range(count)]
    orders = Orders(messages)
    assert [orders.at(number) for number in range(orders.count)] == sorted(set(permutations(word)))


@given(many, st.data())
def test_an_order_is_found_by_its_number_however_many_there_are(
    messages: tuple[int, ...], data: st.DataObject
) -> None:
    orders = Orders(messages)
    number = data.draw(st.integers(0, orders.count - 1))
    assert orders.number_of(orders.at(number)) == number
    order = data.draw(st.permutations(orders.at(number)))
    assert orders.at(orders.number_of(order)) == tuple(order)


def test_what_is_no_order_has_no_number() -> None:
    orders = Orders((2, 1))
    assert orders.count == 3
    for number in (-1, 3):
        with pytest.raises(IndexError, match="there are 3 orders"):
            orders.at(number)
    for order in ((0, 1), (0, 1, 1), (0, 0, 2)):
        with pytest.raises(ValueError, match="is no order of clients that bring"):
            orders.number_of(order)


def test_the_times_of_a_program_are_no_messages() -> None:
    minute, call = timedelta(minutes=1), Called("ada")
    assert Orders.of([call, minute, call]).messages == (2,)
    program = [[minute, call, minute], [Publish(call), call], [minute]]
    assert Orders.of(program).messages == (1, 2, 0)
    assert Orders.of(program).count == 3
