"""What is likely to be asked for next, since it has the id of what was."""

from __future__ import annotations

from procession.store.layout.schema import stream_key, transitions_key
from procession.store.namesakes import IDS_KEPT, MOST, Namesakes


def order(number: int) -> bytes:
    return stream_key(f"order-{number}")


def payment(number: int) -> bytes:
    return stream_key(f"payment-{number}")


def process(number: int) -> bytes:
    return transitions_key("Shop.Fulfilment", str(number))


def test_what_came_after_one_is_likely_after_the_next_of_its_kind() -> None:
    namesakes = Namesakes()
    for asked in (order(1), process(1), payment(1)):
        assert namesakes.next_of([asked]) == []
    assert namesakes.next_of([order(2)]) == [process(2), payment(2)]
    # That comes to be asked for, of which others come in turn.
    assert namesakes.next_of([process(2)]) == []
    assert namesakes.next_of([process(3)]) == []


def test_a_wave_is_one_lesson_and_is_answered_for_each_of_it() -> None:
    namesakes = Namesakes()
    wave = range(100)
    assert namesakes.next_of(map(order, wave)) == []
    namesakes.next_of(map(payment, wave))
    wave = range(100, 200)
    assert namesakes.next_of(map(order, wave)) == [payment(one) for one in wave]


def test_what_is_asked_for_in_vain_is_left_after_a_while() -> None:
    namesakes = Namesakes()
    for number in range(MOST):
        namesakes.next_of([order(number)])
        namesakes.next_of([payment(number)])
    answers = [namesakes.next_of([order(MOST + number)]) for number in range(2 * MOST)]
    assert [len(each) for each in answers] == [1] * MOST + [0] * MOST


def test_what_has_rows_is_asked_for_no_more() -> None:
    namesakes = Namesakes()
    namesakes.next_of([order(1)])
    namesakes.next_of([payment(1)])
    assert namesakes.next_of([order(2)]) == [payment(2)]
    namesakes.were_there([payment(2)])
    assert namesakes.next_of([order(3)]) == []


def test_streams_without_an_id_are_namesakes_of_none() -> None:
    namesakes = Namesakes()
    namesakes.next_of([stream_key("orders")])
    namesakes.next_of([stream_key("payments")])
    assert namesakes.next_of([stream_key("orders")]) == []
    assert not namesakes._after


def test_ids_are_remembered_up_to_a_bound() -> None:
    namesakes = Namesakes()
    for number in range(3 * IDS_KEPT):
        namesakes.next_of([order(number)])
    assert len(namesakes._first) <= IDS_KEPT + 1
