"""What is particular to the LMDB store: its format, damage, growth, readers, and counters."""

import struct
import threading
import zlib
from pathlib import Path

import lmdb
import msgpack
import pytest

from procession.store import (
    FORMAT_VERSION,
    MAX_NAME_BYTES,
    Append,
    Committed,
    CorruptRecord,
    DamagedStore,
    EventRecord,
    InvalidName,
    LmdbStore,
    LockedStore,
    ParkedRecord,
    ReadOnlyStore,
    Step,
    StoreError,
    TransitionRecord,
    UnknownFormat,
    check_name,
    verify,
)
from procession.store.lmdb.read_txn import SharedReadTxn

ALL = 1_000_000


def append(stream: str, *data: bytes) -> Step:
    return Step(
        append=Append(stream, None, [EventRecord("T", stream, 0, 0, item, "", "") for item in data])
    )


def fast(folder: Path, map_size: int = 1 << 28) -> LmdbStore:
    return LmdbStore(folder, durability="none", map_size=map_size)


def put_raw(folder: Path, table: bytes, key: bytes, value: object) -> None:
    """Write a frame with LMDB alone."""
    packed: bytes = msgpack.packb(value)
    with lmdb.Environment(str(folder), max_dbs=32) as env:
        db = env.open_db(table)
        with env.begin(write=True) as txn:
            txn.put(key, struct.pack("<I", zlib.crc32(key + packed)) + packed, db=db)


def flip(file: Path, marker: bytes) -> None:
    """Change one byte of every copy of a value; LMDB keeps old pages."""
    content = bytearray(file.read_bytes())
    at = content.find(marker)
    assert at >= 0
    while at >= 0:
        content[at] ^= 0x40
        at = content.find(marker, at)
    file.write_bytes(content)


# Format


@pytest.mark.parametrize("found", [0, FORMAT_VERSION + 1, 99, "2"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_of_another_format_is_refused_and_stays_as_it_is(
    tmp_path: Path, found: object, *, read_only: bool
) -> None:
    fast(tmp_path).close()
    put_raw(tmp_path, b"meta", b"format", found)
    content = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(UnknownFormat, match=f"has format {found}.* knows format {FORMAT_VERSION}"):
        LmdbStore(tmp_path, read_only=read_only)
    assert (tmp_path / "data.mdb").read_bytes() == content


def test_a_store_of_another_format_that_lacks_our_tables_does_not_get_them(tmp_path: Path) -> None:
    put_raw(tmp_path, b"meta", b"format", FORMAT_VERSION + 1)
    content = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(UnknownFormat):
        fast(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == content


@pytest.mark.parametrize("table", [None, b"accounts"])
@pytest.mark.parametrize("read_only", [False, True])
def test_an_lmdb_file_of_something_else_is_refused_and_stays_as_it_is(
    tmp_path: Path, table: bytes | None, *, read_only: bool
) -> None:
    with lmdb.Environment(str(tmp_path), max_dbs=2) as env:
        db = env.open_db(table)
        with env.begin(write=True) as txn:
            txn.put(b"theirs", b"value", db=db)
    content = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(DamagedStore, match="LMDB file"):
        LmdbStore(tmp_path, read_only=read_only)
    assert (tmp_path / "data.mdb").read_bytes() == content


def test_a_store_that_was_refused_can_be_opened_once_it_is_right(tmp_path: Path) -> None:
    with fast(tmp_path) as store:
        store.commit([append("s", b"kept")])
    put_raw(tmp_path, b"meta", b"format", 99)
    with pytest.raises(UnknownFormat):
        fast(tmp_path)
    put_raw(tmp_path, b"meta", b"format", FORMAT_VERSION)
    with fast(tmp_path) as store:
        assert [event.data for event in store.read_log(0, ALL)] == [b"kept"]


def test_a_durability_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="'always'"):
        LmdbStore(tmp_path / "new", durability="always")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


# Damaged records


def test_a_record_that_stands_under_another_key_is_found(tmp_path: Path) -> None:
    with fast(tmp_path) as store:
        store.commit([append("s", b"event-one", b"event-two")])
    with lmdb.Environment(str(tmp_path), max_dbs=32) as env:
        db = env.open_db(b"log")
        with env.begin(write=True) as txn:
            first = txn.get(bytes(7) + b"\x01", db=db)
            assert first is not None
            txn.put(bytes(7) + b"\x02", first, db=db)
    with fast(tmp_path) as store, pytest.raises(CorruptRecord, match=r"x02' of table 'log'"):
        store.read_log(1, ALL)


def test_a_flipped_byte_in_an_event_is_found_and_the_others_stay_readable(tmp_path: Path) -> None:
    with fast(tmp_path) as store:
        store.commit([append("s", b"event-one", b"event-two"), append("t", b"event-three")])
    flip(tmp_path / "data.mdb", b"event-two")
    with fast(tmp_path) as store:
        for read in (store.read_log, lambda after, limit: store.read_stream("s", after, limit)):
            with pytest.raises(CorruptRecord, match=r"x02' of table 'log' .* checksum"):
                read(0, ALL)
            assert [event.data for event in read(0, 1)] == [b"event-one"]
        assert [event.data for event in store.read_log(2, ALL)] == [b"event-three"]
        assert [event.data for event in store.read_stream("t", 0, ALL)] == [b"event-three"]
        assert store.commit([append("s", b"event-four")]) == [Committed()]
        assert [event.data for event in store.read_log(3, ALL)] == [b"event-four"]


def test_a_flipped_byte_in_a_state_is_found_and_other_instances_stay_readable(
    tmp_path: Path,
) -> None:
    def move(instance: str) -> Step:
        state = f"state of {instance}".encode()
        return Step(
            process="P",
            instance=instance,
            transition=TransitionRecord(1, 0, "on", False, "e", "e", 1, state),
        )

    with fast(tmp_path) as store:
        store.commit([move("a"), move("b"), move("c")])
    flip(tmp_path / "data.mdb", b"state of b")
    with fast(tmp_path) as store:
        with pytest.raises(CorruptRecord, match="table 'transitions'"):
            store.last_transition("P", "b")
        for instance in "ac":
            found = store.last_transition("P", instance)
            assert found is not None
            assert found.state == f"state of {instance}".encode()


# Names


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("x" * 600, "is 600 bytes long"),
        ("x" * (MAX_NAME_BYTES + 1), "is 401 bytes long; at most 400"),
        ("é" * 300, "is 600 bytes long"),
        ("\U0001f9fe" * 101, "is 404 bytes long"),
        ("a\0b", "NUL"),
        ("é\0", "NUL"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_a_name_that_cannot_be_a_key_is_refused(name: str, why: str) -> None:
    with pytest.raises(InvalidName, match=why) as caught:
        check_name("stream", name)
    assert "stream" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["x", "x" * MAX_NAME_BYTES, "é" * (MAX_NAME_BYTES // 2), "a b\n"])
def test_a_name_that_can_be_a_key_is_let_through(name: str) -> None:
    check_name("stream", name)


# Counters


def test_a_commit_that_fails_leaves_nothing_and_no_gap_in_the_numbers(tmp_path: Path) -> None:
    with fast(tmp_path) as store:
        store.commit([append("s", b"1")])
        with pytest.raises(StoreError, match="committing"):
            # A name that no check has seen, too long for a key.
            store.commit([append("s", b"2"), append("x" * 600, b"3")])
        assert store.last_position() == 1
        assert [event.data for event in store.read_log(0, ALL)] == [b"1"]
        store.commit([append("s", b"4")])
        assert [(event.position, event.data) for event in store.read_log(0, ALL)] == [
            (1, b"1"),
            (2, b"4"),
        ]
        assert [event.version for event in store.read_stream("s", 0, ALL)] == [1, 2]


def test_an_error_of_the_writer_itself_leaves_nothing_either(tmp_path: Path) -> None:
    bad = EventRecord("T", "s", 0, 0, object(), "", "")  # type: ignore[arg-type]
    with fast(tmp_path) as store:
        with pytest.raises(TypeError):
            store.commit([append("s", b"1"), Step(append=Append("s", None, [bad]))], {"P": 1})
        assert store.last_position() == 0
        assert store.checkpoint("P") == 0
        store.commit([append("s", b"2")])
        assert [event.position for event in store.read_log(0, ALL)] == [1]


def test_a_name_that_a_failed_commit_was_the_first_to_use_is_written_by_the_next(
    tmp_path: Path,
) -> None:
    with fast(tmp_path) as store:
        with pytest.raises(StoreError, match="committing"):
            store.commit([append("s", b"1"), append("x" * 600, b"2")])
        assert list(store.scan_names()) == []
        store.commit([append("s", b"1")])
        assert [kind for kind, _ in store.scan_names()] == ["event"]
    assert verify(tmp_path) == []


# Growth


def test_the_map_grows_by_itself(tmp_path: Path) -> None:
    data = [bytes([n]) * 50_000 for n in range(100)]
    with fast(tmp_path, map_size=1 << 16) as store:
        for item in data:
            assert store.commit([append("s", item)]) == [Committed()]
        assert [event.data for event in store.read_log(0, ALL)] == data
    with fast(tmp_path, map_size=1 << 16) as store:
        assert [event.position for event in store.read_log(0, ALL)] == list(range(1, 101))


def test_one_commit_may_be_much_larger_than_the_map(tmp_path: Path) -> None:
    with fast(tmp_path, map_size=1 << 16) as store:
        store.commit([append(f"s{n}", bytes(50_000)) for n in range(100)])
        assert [event.position for event in store.read_log(0, ALL)] == list(range(1, 101))


def test_the_map_grows_with_a_reader_open_in_the_same_process(tmp_path: Path) -> None:
    with fast(tmp_path, map_size=1 << 16) as store, LmdbStore(tmp_path, read_only=True) as reader:
        for n in range(1, 41):
            store.commit([append("s", bytes(50_000))])
            assert reader.last_position() == n
            assert reader.read_log(n - 1, 1)[0].position == n


# Reading beside a writer, in one process


def test_a_reader_in_the_same_process_sees_each_commit(tmp_path: Path) -> None:
    with fast(tmp_path) as store, LmdbStore(tmp_path, read_only=True) as reader:
        assert reader.read_log(0, ALL) == []
        park = Step(process="P", instance="a", wait=3)
        store.commit([append("s", b"1"), park], {"P": 1})
        assert reader.read_log(0, ALL) == store.read_log(0, ALL)
        assert reader.last_position() == reader.checkpoint("P") == 1
        assert reader.last_waiting("P", "a") == 3


def test_what_a_scan_sees_is_what_is_found_by_itself_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        assert store.last_transition("P", "i") is None
        parked = ParkedRecord("P", "i", "e", "E", "text", 1, 0)
        event = EventRecord("Shop.Made.v1", "shop::x-1", 0, 1, b"\x80", "given", "")
        step = Step(append=Append("shop::x-1", None, [event], unique=True), park=parked)

        def seen_alike() -> bool:
            """Whether scans and looks at single records see the same; and whether it is there."""
            found, stored = store.parked_as(1), store.event_at(1)
            assert [*store.scan_parked()] == ([] if found is None else [found])
            assert [*store.scan_log()][:1] == ([] if stored is None else [stored])
            assert store.position_of("given") == (0 if stored is None else stored.position)
            assert (found is None) == (stored is None)
            return found is not None

        with monkeypatch.context() as patch:
            # A moment passes between a commit and the end of the transaction before it.
            patch.setattr(SharedReadTxn, "forget", lambda shared: seen_alike())
            store.commit([step])
            seen_alike()
        store.commit([append("s", b"1")])
        assert seen_alike()


def test_a_reader_refuses_to_write(tmp_path: Path) -> None:
    with (
        fast(tmp_path),
        LmdbStore(tmp_path, read_only=True) as reader,
        pytest.raises(ReadOnlyStore, match="open for reading only"),
    ):
        reader.commit([append("s", b"1")])


def test_a_reader_and_its_writer_may_close_in_either_order(tmp_path: Path) -> None:
    writer, reader = fast(tmp_path), LmdbStore(tmp_path, read_only=True)
    writer.commit([append("s", b"1")])
    reader.close()
    writer.commit([append("s", b"2")])
    reader = LmdbStore(tmp_path, read_only=True)
    writer.close()
    assert len(reader.read_log(0, ALL)) == 2
    with fast(tmp_path) as writer:
        writer.commit([append("s", b"3")])
        assert len(reader.read_log(0, ALL)) == 3
    reader.close()


def test_a_reader_left_over_does_not_lower_the_durability_of_the_next_writer(
    tmp_path: Path,
) -> None:
    writer, reader = fast(tmp_path), LmdbStore(tmp_path, read_only=True)
    writer.close()
    with pytest.raises(LockedStore, match="another durability"):
        LmdbStore(tmp_path, durability="fsync")
    reader.close()
    LmdbStore(tmp_path, durability="fsync").close()


def test_a_store_that_does_not_exist_cannot_be_read_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        LmdbStore(tmp_path / "nothing", read_only=True)
    assert not (tmp_path / "nothing").exists()


def test_the_process_may_change_its_folder_while_a_store_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with LmdbStore("store", durability="none") as store:
        monkeypatch.chdir("elsewhere")
        store.commit([append("s", b"1")])
        assert store.read_log(0, ALL)[0].data == b"1"
    with fast(tmp_path / "store") as store:
        assert store.last_position() == 1


def test_a_store_is_opened_for_reading_while_another_thread_commits(tmp_path: Path) -> None:
    ended = threading.Event()
    with fast(tmp_path) as store:

        def write() -> None:
            while not ended.is_set():
                store.commit([append("s", b"data")])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(100):
                LmdbStore(tmp_path, read_only=True).close()
        finally:
            ended.set()
            writer.join()
