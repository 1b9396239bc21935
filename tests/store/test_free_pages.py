"""A file may end before the last page that its header counts, if what it lacks is free."""

import os
import struct
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.store import Append, DamagedStore, EventRecord, LmdbStore, Step, verify_open
from procession.store.lmdb.free_pages import are_free

PAGE = 4_096
T = 1_700_000_000_000_000


def event(number: int) -> EventRecord:
    return EventRecord("Shop.Came.v1", "shop::door-1", number, T, b"\x80", f"e{number}", "c")


def store_with(path: Path, events: int) -> Path:
    with LmdbStore(path) as store:
        for number in range(1, events + 1):
            store.commit([Step(append=Append("shop::door-1", None, [event(number)], unique=True))])
    return path / "data.mdb"


def leave_pages(file: Path, count: int) -> int:
    """Have LMDB count pages at the end that it never writes; returns how many the header counts."""
    with lmdb.open(str(file.parent), max_dbs=32, map_size=1 << 28) as env:
        table = env.open_db(b"meta", create=False)
        with env.begin(write=True) as txn:
            txn.put(b"gone", bytes(count * PAGE), db=table)
            txn.delete(b"gone", db=table)
        needed = int(env.info()["last_pgno"]) + 1
        assert env.stat()["psize"] == PAGE
    return needed


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("count", [40, 2_000])
def test_a_file_whose_last_pages_are_free_and_were_not_written_is_opened(
    tmp_path: Path, count: int, *, read_only: bool
) -> None:
    file = store_with(tmp_path, 20)
    needed = leave_pages(file, count)
    assert file.stat().st_size < needed * PAGE, "LMDB writes them, and this shows nothing"
    with LmdbStore(tmp_path, read_only=read_only) as store:
        assert store.last_position() == 20
        assert verify_open(store).findings == []
        if not read_only:
            store.commit([Step(append=Append("shop::door-1", None, [event(21)], unique=True))])
            assert store.last_position() == 21


def test_a_file_that_lacks_a_page_in_use_is_refused_whatever_is_free(tmp_path: Path) -> None:
    file = store_with(tmp_path, 400)
    leave_pages(file, 40)
    # Of a file that grew page by page, the half that came last is not all free.
    os.truncate(file, file.stat().st_size // 2 // PAGE * PAGE)
    with pytest.raises(DamagedStore, match="truncated"):
        LmdbStore(tmp_path)
    os.truncate(file, 2 * PAGE)
    with pytest.raises(DamagedStore):
        LmdbStore(tmp_path)


@given(st.integers(0, 3 * PAGE), st.integers(1, 255), st.integers(0, 8 * PAGE))
def test_a_list_that_cannot_be_read_says_that_nothing_is_free(
    place: int, change: int, length: int
) -> None:
    # No header, a table that leads nowhere or to itself, an entry beyond its page.
    header = bytearray(2 * PAGE)
    table = struct.pack("<IHHQQQQQ", PAGE, 0, 1, 0, 1, 0, 1, 2)
    for one in (0, 1):
        struct.pack_into("<IIQQ48s", header, one * PAGE + 16, 0xBEEFC0DE, 1, 0, 0, table)
    page = bytearray(PAGE)
    struct.pack_into("<QHHHHH", page, 0, 2, 0, 1, 18, PAGE - 16, PAGE - 16)
    struct.pack_into("<HHHH", page, PAGE - 16, 2, 0, 0, 0)
    data = bytearray(bytes(header) + bytes(page))
    data[place % len(data)] ^= change
    fd = os.memfd_create("pages")
    try:
        os.write(fd, data[: length or len(data)])
        assert are_free(fd, PAGE, range(7, 9)) is False
    finally:
        os.close(fd)
