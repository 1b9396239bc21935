"""Rows that are read ahead for who looks for many, one by one."""

import random
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from procession.store.postgresql.pages import FEWEST, LARGE, MOST, MOST_PAGES, Pages
from procession.store.storage_engine import Row


class Table:
    """Sorted rows, and what was read of them."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = sorted(rows.items())
        self.read: list[int] = []
        self.pages = Pages(self.from_key)

    def from_key(self, key: bytes, limit: int) -> list[Row]:
        self.read.append(limit)
        place = bisect_left(self.rows, (key, b""))
        return self.rows[place : place + limit]


def numbered(count: int, value: bytes = b"v") -> Table:
    return Table({b"%06d" % number: value for number in range(count)})


KEYS = st.binary(min_size=1, max_size=2)


@given(st.dictionaries(KEYS, st.binary(max_size=3), max_size=60), st.lists(KEYS, max_size=200))
def test_a_row_is_found_in_pages_as_in_the_table(
    rows: dict[bytes, bytes], wanted: list[bytes]
) -> None:
    pages = Table(rows).pages
    assert [pages.get(key) for key in wanted] == [rows.get(key) for key in wanted]


def test_rows_in_order_are_read_in_long_pages() -> None:
    table = numbered(5_000)
    assert all(table.pages.get(key) for key, _ in table.rows)
    assert max(table.read) == MOST
    assert len(table.read) < 150


def test_rows_here_and_there_are_read_with_few_others() -> None:
    table = numbered(50_000)
    for number in random.Random(1).choices(range(50_000), k=2_000):
        assert table.pages.get(b"%06d" % number)
    assert sum(table.read) < 2_000 * (FEWEST + 1)


def test_few_pages_are_kept_and_few_rows_of_large_ones() -> None:
    table = numbered(300, bytes(LARGE // 4))
    assert all(table.pages.get(key) for key, _ in table.rows)
    assert max(table.read) <= 2 * FEWEST
    assert len(table.pages._pages) <= MOST_PAGES


def test_an_empty_table_is_read_once() -> None:
    table = numbered(0)
    assert [table.pages.get(b"%d" % number) for number in range(5)] == [None] * 5
    assert len(table.read) == 1
