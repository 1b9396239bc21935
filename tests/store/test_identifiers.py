"""Ids: what makes them, what takes them apart, and that those from outside are never confused."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from procession.store import (
    Append,
    Committed,
    DictionaryEngine,
    Duplicate,
    EventRecord,
    IdTaken,
    LmdbStore,
    Step,
    Store,
    category_of,
    command_id_at,
    effect_command_id_at,
    event_id_at,
    id_in_stream,
    is_issued_by,
    place_of_effect,
    place_of_event,
    place_of_issue,
    verify,
    verify_open,
)

names = st.text(min_size=1, max_size=20) | st.sampled_from(["s", "s@1", "a-b", "+", "s@1+", "é"])
versions = st.integers(1, (1 << 63) - 1)
texts = (
    st.text(max_size=30)
    | st.from_regex(r"[a-c]?-?[a-c@.+-]{0,5}@?\d{0,22}\.?\d{0,22}\+{0,2}", fullmatch=True)
    | st.builds(event_id_at, names, versions)
    | st.builds(command_id_at, st.just("P.Q"), names, versions, st.integers(0, 9))
)


@given(names, versions)
def test_an_event_id_says_the_stream_and_version_that_it_was_made_of(
    stream: str, version: int
) -> None:
    assert place_of_event(event_id_at(stream, version)) == (stream, version)


@given(names, versions, st.integers(0, (1 << 63) - 1))
def test_a_command_id_says_the_transition_and_the_number_that_it_was_made_of(
    instance: str, version: int, number: int
) -> None:
    command_id = command_id_at("shop.Orders", instance, version, number)
    assert place_of_issue(command_id) == ("shop.Orders", instance, version, number)
    assert is_issued_by(command_id, "shop.Orders", instance)
    assert not is_issued_by(command_id, "shop.Orders", instance + "x")


@given(texts)
@example("pay-7@20261126012233445566")
@example("pay-7@20261126012233445566.0")
@example("pay-7@²")
@example("pay-7@².0")
@example("s@01")
@example("@1")
@example("")
def test_any_text_is_taken_apart_without_an_error(text: str) -> None:
    event, issue = place_of_event(text), place_of_issue(text)
    assert event is None or text.rstrip("+") == event_id_at(*event)
    assert issue is None or text == command_id_at(*issue)


@pytest.mark.parametrize(
    ("stream", "category", "name"),
    [("shop::order-o-1", "shop::order", "o-1"), ("s", "s", ""), ("-a", "", "a"), ("", "", "")],
)
def test_a_stream_is_its_category_and_an_id(stream: str, category: str, name: str) -> None:
    assert (category_of(stream), id_in_stream(stream)) == (category, name)


# In a store


def published(stream: str, event_id: str = "") -> Step:
    event = EventRecord("E", stream, 0, 5, b"", event_id, "")
    return Step(append=Append(stream, None, [event], unique=bool(event_id)))


def test_an_id_from_outside_is_refused_if_the_store_gave_it_to_an_event(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        outcomes = store.commit([published("gate-1"), published("other-1", "gate-1@1")])
        assert outcomes == [Committed(), IdTaken("gate-1@1", "E", "gate-1", 5, 1, is_given=False)]
        assert store.last_position() == 1


def test_the_store_makes_way_for_an_id_from_outside_that_it_would_have_made(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        store.commit([published("other-1", "gate-1@2"), published("other-1", "gate-1@2+")])
        store.commit([published("gate-1")])
    with LmdbStore(tmp_path, durability="none") as store:
        store.commit([published("gate-1"), published("gate-1")])
        found = [event.event_id for event in store.read_stream("gate-1", 0, 9)]
        assert found == ["gate-1@1", "gate-1@2++", "gate-1@3"]
        assert [store.position_of(event_id) for event_id in found] == [3, 4, 5]
        assert [store.position_of(one) for one in ("gate-1@2", "gate-1@2+")] == [1, 2]
        again = store.commit([published("x-1", "gate-1@2"), published("x-1", "gate-1@2++")])
        assert again == [
            Duplicate(position=1),
            IdTaken("gate-1@2++", "E", "gate-1", 5, 4, is_given=False),
        ]
    assert verify(tmp_path) == []


def test_the_id_of_an_events_own_place_may_be_given_and_is_taken_once(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        steps = [published("gate-1", "gate-1@1"), published("gate-1", "gate-1@1")]
        assert store.commit(steps) == [Committed(), Duplicate(position=1)]
        store.commit([published("gate-1")])
        assert [one.event_id for one in store.read_log(0, 9)] == ["gate-1@1", "gate-1@2"]
    assert verify(tmp_path) == []


ids = st.just("") | st.sampled_from(
    ["e", *(f"{stream}@{n}{plus}" for stream in "st" for n in (1, 2, 3) for plus in ("", "+"))]
)


@given(st.lists(st.lists(st.tuples(st.sampled_from("st"), ids), max_size=4), max_size=5))
def test_all_ids_in_a_store_are_unique_whatever_is_given(
    commits: list[list[tuple[str, str]]],
) -> None:
    given_ids: dict[str, int] = {}
    made: set[str] = set()
    tables = DictionaryEngine()
    for wanted in commits:
        # Opened anew each time, so that what one writer knew is no help to the next.
        tables = tables.reopened()
        store = Store(tables)
        steps = [published(stream, event_id) for stream, event_id in wanted]
        for (_, event_id), step, outcome in zip(wanted, steps, store.commit(steps), strict=True):
            assert step.append is not None
            (event,) = step.append.events
            if event_id in given_ids:
                assert outcome == Duplicate(position=given_ids[event_id])
            elif event_id in made:
                assert isinstance(outcome, IdTaken)
            elif event_id:
                assert outcome == Committed()
                assert event.event_id == event_id
                given_ids[event_id] = event.position
            else:
                assert event.event_id not in made | given_ids.keys()
                made.add(event.event_id)
    store = Store(tables.reopened())
    log = store.read_log(0, 99)
    assert [store.position_of(one.event_id) for one in log] == [one.position for one in log]
    assert {one.event_id for one in log} == made | given_ids.keys()
    assert verify_open(store).findings == []


@given(names, versions, st.integers(0, 9))
def test_a_command_of_an_effect_is_told_from_one_of_a_step(
    instance: str, position: int, number: int
) -> None:
    command_id = effect_command_id_at("shop.Orders", instance, position, number)
    assert place_of_effect(command_id) == ("shop.Orders", instance, position, number)
    assert place_of_issue(command_id) is None
    assert not is_issued_by(command_id, "shop.Orders", instance)
    assert place_of_effect(command_id_at("shop.Orders", instance, position, number)) is None
