"""Each node has its share of the partitions, and none waits that a node could take."""

from hypothesis import given
from hypothesis import strategies as st

from procession.core.ownership import Version, taker, too_much, waiting

nodes = st.dictionaries(st.text("abc", min_size=1), st.integers(0, 20), max_size=5)


def test_the_node_with_the_fewest_takes_over_and_names_decide_between_equals() -> None:
    assert taker({"b": 1, "a": 2, "c": 1}) == "b"
    assert taker({}) is None


def test_who_has_its_share_hands_nothing_over() -> None:
    assert too_much({"a": 3, "b": 2, "c": 2}) is None
    assert too_much({"a": 3, "b": 3, "c": 0}) == ("b", "c")
    assert too_much({"a": 9}) is None
    assert too_much({}) is None


@given(nodes)
def test_handing_over_ends_when_no_two_differ_by_more_than_one(owned: dict[str, int]) -> None:
    for _ in range(sum(owned.values()) + 1):
        pair = too_much(owned)
        if pair is None:
            break
        most, to = pair
        owned[most] -= 1
        owned[to] += 1
    assert too_much(owned) is None
    assert max(owned.values(), default=0) - min(owned.values(), default=0) <= 1


OLD, BOTH = Version(frozenset("a"), frozenset("a")), Version(frozenset("ab"), frozenset("a"))
NEW = Version(frozenset("ab"), frozenset("b"))


def test_who_writes_what_one_that_came_before_cannot_read_waits_for_that_one() -> None:
    assert waiting({"x": OLD, "y": NEW, "z": NEW}) == {"y": "x", "z": "x"}
    assert waiting({"y": NEW, "z": NEW}) == {}
    assert waiting({"y": NEW, "x": OLD}) == {"x": "y"}


def test_who_only_reads_more_waits_for_none() -> None:
    assert waiting({"x": OLD, "y": BOTH}) == {}
    assert waiting({"x": BOTH, "y": NEW}) == {}
    assert waiting({"x": OLD, "y": BOTH, "z": NEW}) == {"z": "x"}
