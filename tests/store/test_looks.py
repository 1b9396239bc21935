"""Rows that are not in the order of their keys are of a damaged tree, and end a look."""

from itertools import cycle
from pathlib import Path
from typing import Any, Self

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.store import DamagedStore
from procession.store.lmdb.looks import in_order, rows_between

KEYS = st.lists(st.binary(min_size=1, max_size=3), unique=True, min_size=1).map(sorted)


@given(KEYS, st.data())
def test_rows_in_order_come_as_they_are(keys: list[bytes], data: st.DataObject) -> None:
    start = data.draw(st.sampled_from([b"", *keys]))
    on = [(key, b"") for key in keys if key >= start]
    assert list(in_order(on, start, backwards=False)) == on
    back = [(key, b"") for key in reversed(keys) if key < start]
    assert list(in_order(back, start, backwards=True)) == back


@given(keys=KEYS.filter(lambda keys: len(keys) > 1), backwards=st.booleans())
def test_pages_that_lead_in_a_circle_come_to_an_end(keys: list[bytes], *, backwards: bool) -> None:
    circle = cycle([(key, b"") for key in (reversed(keys) if backwards else keys)])
    rows = in_order(circle, b"\xff" * 4 if backwards else b"", backwards=backwards)
    found = [next(rows) for _ in keys]
    assert [key for key, _ in found] == (keys[::-1] if backwards else keys)
    with pytest.raises(DamagedStore, match="out of order"):
        next(rows)


class Misled:
    """A cursor of a tree whose pages lead to other rows than those that are asked for."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def set_range(self, key: bytes) -> bool:
        return True

    prev = last = lambda self: True

    def iternext(self) -> Any:
        return iter([(key, b"") for key in self.keys])

    iterprev = iternext


@pytest.mark.parametrize(
    ("keys", "backwards"),
    [([b"a"], False), ([b"m", b"a"], False), ([b"z"], True), ([b"c", b"z"], True)],
)
def test_a_look_that_would_get_no_further_is_refused(keys: list[bytes], *, backwards: bool) -> None:
    txn: Any = type("Txn", (), {"cursor": lambda self, table: Misled(keys)})()
    table: Any = None
    with pytest.raises(DamagedStore, match="out of order"):
        rows_between(txn, table, b"b", b"n", 10, backwards=backwards)


def test_rows_between_two_keys_are_those(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
        table = env.open_db(txn=txn)
        for key in (b"a", b"b", b"c", b"n"):
            txn.put(key, key)
        assert rows_between(txn, table, b"b", b"n", 9, backwards=False) == [
            (b"b", b"b"),
            (b"c", b"c"),
        ]
        assert rows_between(txn, table, b"a", b"c", 1, backwards=True) == [(b"b", b"b")]
