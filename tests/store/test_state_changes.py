"""What a step adds to a packed state: found from bytes alone, and led back to the whole state."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.store.state_changes import (
    Misfit,
    PackedFields,
    added,
    apply_change,
    change_between,
)

pack = msgspec.msgpack.encode
of = PackedFields.of

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=40,
)
states = st.dictionaries(st.sampled_from("abc"), values, min_size=1)


@given(states, st.data())
def test_a_change_leads_from_one_state_to_the_next(before: dict[str, Any], data: Any) -> None:
    after = {name: data.draw(values | st.just(value)) for name, value in before.items()}
    one, other = pack(before), pack(after)
    change, made = change_between(of(one), of(other).parts)
    assert change is not None
    assert made == apply_change(of(one), change) == of(other)
    assert made.whole() == other


@given(states, st.data())
def test_what_was_compared_already_leads_to_the_same_change(
    before: dict[str, Any], data: Any
) -> None:
    after = {name: data.draw(values | st.just(value)) for name, value in before.items()}
    for name, value in after.items():
        if isinstance(value, list) and isinstance(before[name], list):
            after[name] = before[name] + data.draw(st.lists(values, max_size=3))
    one, other = of(pack(before)), of(pack(after)).parts
    tails = {name: added(one.parts[name], part) for name, part in other.items()}
    known = {name: tail for name, tail in tails.items() if tail is not None}
    assert change_between(one, other, known) == change_between(one, other)


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 65_534, 65_535, 65_536])
def test_what_is_added_to_a_list_is_all_that_is_stored_of_it(count: int) -> None:
    before, after = {"items": list(range(count))}, {"items": [*range(count), "last"]}
    one, other = pack(before), pack(after)
    change, _ = change_between(of(one), of(other).parts)
    assert change is not None
    assert len(change) < 40
    assert apply_change(of(one), change).whole() == other


def test_a_change_in_place_at_any_depth_is_seen() -> None:
    before = {"items": [{"deep": [1, 2]}, 3]}
    after = {"items": [{"deep": [1, 9]}, 3, 4]}
    assert added(pack(before["items"]), pack(after["items"])) is None


def test_a_change_made_on_another_state_is_refused() -> None:
    one, other = pack({"items": [1]}), pack({"items": [1, 2]})
    change, _ = change_between(of(one), of(other).parts)
    assert change is not None
    with pytest.raises(Misfit, match="was made on another state"):
        apply_change(of(pack({"items": [9]})), change)
    with pytest.raises(Misfit, match="nothing can be added"):
        apply_change(of(pack({"items": 9})), change)
    with pytest.raises(Misfit, match="no change of a state"):
        apply_change(of(one), b"\x00")


def test_states_of_other_fields_are_stored_whole() -> None:
    one, other = pack({"a": 1}), pack({"b": 1})
    assert change_between(of(one), of(other).parts)[0] is None


@given(states)
def test_a_state_is_the_sum_of_its_fields(state: dict[str, Any]) -> None:
    assert of(pack(state)).whole() == pack(state)
    with pytest.raises(Misfit, match="no state"):
        of(b"\x91\x01")
