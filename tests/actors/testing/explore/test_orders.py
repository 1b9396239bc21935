"""The orders of the clients: each has a number, and none has two."""

from collections import Counter
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
def test_two_numbers_are_two_orders_by_the_alphabet_however_many_there_are(
    messages: tuple[int, ...], data: st.DataObject
) -> None:
    orders = Orders(messages)
    numbers = st.integers(0, orders.count - 1)
    first, second = sorted([data.draw(numbers), data.draw(numbers)])
    assert (first < second) == (orders.at(first) < orders.at(second))
    assert Counter(orders.at(first)) == Counter(orders.at(second))
    assert [orders.at(first).count(client) for client in range(len(messages))] == list(messages)


def test_a_number_that_no_order_has_is_refused() -> None:
    orders = Orders((2, 1))
    assert orders.count == 3
    for number in (-1, 3):
        with pytest.raises(IndexError, match="there are 3 orders"):
            orders.at(number)


def test_the_times_of_a_program_are_no_messages() -> None:
    minute, call = timedelta(minutes=1), Called("ada")
    assert Orders.of([call, minute, call]).messages == (2,)
    program = [[minute, call, minute], [Publish(call), call], [minute]]
    assert Orders.of(program).messages == (1, 2, 0)
    assert Orders.of(program).count == 3
