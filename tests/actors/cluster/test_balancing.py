"""Which node has which partitions, decided from what all can see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("psycopg")

from procession.cluster.balancing import Look, decide
from procession.store.postgresql.lease import NodeRow, OwnerRow

ALL = frozenset({"a", "b"})


def node(name: str, **given: object) -> NodeRow:
    row = NodeRow(name, name.upper(), True, False, ALL, ALL, False)
    return row._replace(**given)  # type: ignore[arg-type]


def owner(part: int, token: str = "", **given: object) -> OwnerRow:
    row = OwnerRow(part, 1, token, "", not token, not token)
    return row._replace(**given)  # type: ignore[arg-type]


def test_a_node_alone_takes_all_that_is_free() -> None:
    look = Look([owner(part) for part in range(4)], [node("x")])
    assert set(decide("x", look, None).take) == {0, 1, 2, 3}


def test_a_node_that_comes_is_given_its_share() -> None:
    look = Look([owner(part, "x") for part in range(8)], [node("x"), node("y")])
    assert list(decide("x", look, None).leave) == [4, 5, 6, 7]
    assert not decide("y", look, None).take


def test_what_is_handed_over_is_taken_by_who_has_less() -> None:
    owners = [owner(part, "x" if part < 4 else "") for part in range(8)]
    look = Look(owners, [node("x"), node("y")])
    assert not decide("x", look, None).take
    assert set(decide("y", look, None).take) == {4, 5, 6, 7}


def test_an_owner_must_seem_gone_twice() -> None:
    gone = [owner(part, "x", is_unlocked=True) for part in range(2)]
    look = Look(gone, [node("x", is_alive=False), node("y")])
    assert not decide("y", look, None).take
    assert set(decide("y", look, look).take) == {0, 1}


def test_an_owner_that_was_replaced_between_two_looks_is_not_gone() -> None:
    nodes = [node("x"), node("y")]
    before = Look([owner(0, "x", is_unlocked=True)], nodes)
    look = Look([owner(0, "z", is_unlocked=True, epoch=2)], nodes)
    assert not decide("y", look, before).take


def test_a_node_whose_lock_is_free_twice_has_no_share() -> None:
    nodes = [node("x", is_unlocked=True), node("y")]
    look = Look([owner(part, "x", is_unlocked=True) for part in range(4)], nodes)
    assert set(decide("y", look, look).take) == {0, 1, 2, 3}


def test_a_node_that_is_drained_hands_all_over_and_takes_nothing() -> None:
    nodes = [node("x", is_drained=True), node("y")]
    look = Look([owner(0, "x"), owner(1)], nodes)
    assert decide("x", look, None) == ({}, [0], "")
    assert set(decide("y", look, None).take) == {1}


def test_a_partition_goes_to_the_node_that_an_operator_named() -> None:
    nodes = [node("x"), node("y")]
    owners = [owner(0, "x", wanted_by="y"), owner(1, "y")]
    assert list(decide("x", Look(owners, nodes), None).leave) == [0]
    free = Look([owner(0, wanted_by="y"), owner(1, "y")], nodes)
    assert not decide("x", free, None).take
    assert set(decide("y", free, None).take) == {0}


def test_a_node_that_writes_what_another_one_cannot_read_owns_nothing_and_says_so() -> None:
    new = node("y", reads=ALL | {"c"}, writes=ALL | {"c"})
    look = Look([owner(part) for part in range(2)], [node("x"), new])
    assert decide("y", look, None) == ({}, [], "X")
    assert set(decide("x", look, None).take) == {0, 1}
    # It goes on as soon as the other one is gone.
    assert set(decide("y", look._replace(nodes=[new]), None).take) == {0, 1}


def test_a_node_that_only_reads_more_has_its_share() -> None:
    look = Look([owner(0)], [node("x", is_drained=True), node("y", reads=ALL | {"c"})])
    assert set(decide("y", look, None).take) == {0}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_partition_is_owned_after_a_while_by_nodes_that_have_about_as_many(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(1, 20))
    names = "uvwxyz"[: data.draw(st.integers(1, 6))]
    tokens = data.draw(
        st.lists(st.sampled_from(["", "dead", *names]), min_size=count, max_size=count)
    )
    rows = [
        owner(part, token, is_unlocked=token in {"", "dead"}) for part, token in enumerate(tokens)
    ]
    nodes = [node(name) for name in names]
    before: dict[str, Look] = {}
    for turn in range(3 * len(names) + 6):
        for name in data.draw(st.permutations(names)) if turn < 4 else names:
            look = Look(list(rows), nodes)
            decision = decide(name, look, before.get(name))
            before[name] = look
            for part in decision.leave:
                rows[part] = owner(part, epoch=rows[part].epoch)
            for part, epoch in decision.take.items():
                if rows[part].epoch == epoch:
                    rows[part] = owner(part, name, epoch=epoch + 1)
    share = -(-count // len(names))
    owned = [sum(row.token == name for row in rows) for name in names]
    assert sum(owned) == count
    assert max(owned) <= share
