"""A program: what comes from outside, checked, and as plain data."""

from datetime import timedelta
from typing import Any

import msgpack
import pytest

from procession.model.registry import Registry
from procession.testing import Publish
from procession.testing.simulation.program import in_words, lists_of, program_from, program_to
from tests.actors.testing.simulation.selling import Place, Returned, shop

ITEMS: list[Any] = [
    Place("o1", 5),
    timedelta(minutes=10),
    Returned("o1"),
    Publish(Returned("o2"), stream="shop::desk-1", event_id="e1", headers={"by": "post"}),
]


def test_a_plain_list_has_one_client_and_each_list_of_lists_has_its_own() -> None:
    assert lists_of(ITEMS) == {"client": ITEMS}
    assert lists_of([ITEMS, [], ITEMS[:1]]) == {
        "client1": ITEMS,
        "client2": [],
        "client3": ITEMS[:1],
    }
    assert lists_of([]) == {"client": []}


@pytest.mark.parametrize("program", ["Place", b"Place", 5, None, [Place("o1"), "Place"], [["x"]]])
def test_what_is_no_program_is_refused(program: Any) -> None:
    with pytest.raises(TypeError, match="a program"):
        lists_of(program)


def test_a_time_before_now_is_refused() -> None:
    with pytest.raises(ValueError, match="is negative"):
        lists_of([[Place("o1")], [timedelta(-1)]])


@pytest.mark.parametrize("program", [[], ITEMS, [ITEMS, [], ITEMS[:2]]])
def test_a_program_comes_back_from_plain_data_as_it_went(program: list[Any]) -> None:
    registry = Registry([shop])
    packed = msgpack.unpackb(msgpack.packb(program_to(registry, program)))
    # An event that is alone comes back with what publishing it takes.
    expected = [
        [Publish(it) if isinstance(it, Returned) else it for it in one]
        if isinstance(one, list)
        else (Publish(one) if isinstance(one, Returned) else one)
        for one in program
    ]
    assert program_from(registry, packed) == expected


def test_an_item_is_told_by_what_the_client_does_with_it() -> None:
    assert in_words(ITEMS[0]) == "tell Place(order_id='o1', price=5)"
    assert in_words(ITEMS[2]) == "publish Returned(order_id='o1')"
    assert in_words(ITEMS[3]) == "publish Returned(order_id='o2')"
