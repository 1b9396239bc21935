"""A store is taken to another place as it is: from a folder to a database, and back."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from procession import Runtime
from procession.store import DamagedStore, LockedStore, StoreError, copy, open_store, verify
from procession.store.layout.schema import TABLES
from procession.store.maintenance import moving, rewriting
from tests.kill.campaign import finish
from tests.kill.shop import AddNote, PlaceOrder, shop
from tests.postgresql import shared_server

Place = Callable[[str], str]


@pytest.fixture(params=["folder", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where copies go: a new place for each name."""
    if request.param == "folder":
        return lambda name: str(tmp_path / name)
    return lambda _: shared_server().new_url()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    monkeypatch.setenv("OPERATORS", "0")
    folder = tmp_path / "store"
    with Runtime(folder, shop) as runtime:
        runtime.tell_many([PlaceOrder(f"o{number}", Decimal(number)) for number in range(60)])
        runtime.tell(AddNote("o1"), command_id="note")
        runtime.settle(timeout=60)
    return str(folder)


def rows_in(where: str) -> dict[str, list[tuple[bytes, bytes]]]:
    with open_store(where, read_only=True) as opened, opened.snapshot() as snapshot:
        return {table: list(snapshot.scan(table)) for table in TABLES}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "AT_ONCE", 2_000)


def cut_off(monkeypatch: pytest.MonkeyPatch, source: str, target: str, writes: int) -> None:
    """Copy, and die after so many parts were written."""
    written = 0

    def tell(done: int, total: int) -> None:
        nonlocal written
        written += 1
        # The first is told before anything is written.
        if written > writes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source, target, on_progress=tell)


def test_a_copy_has_all_rows_as_they_are_and_goes_on(store: str, place: Place) -> None:
    target = place("copy")
    told: list[tuple[int, int]] = []
    done = copy(store, target, on_progress=lambda *how: told.append(how))
    assert rows_in(target) == rows_in(store)
    assert done.before == 0
    assert told[-1][0] == told[-1][1] == 2 * done.rows
    assert verify(target) == []
    with Runtime(target, shop) as runtime:
        runtime.ask(PlaceOrder("another", Decimal(1)))
        finish(runtime, {"another", "o1"})


def test_a_store_comes_back_from_a_database_as_it_was(store: str, tmp_path: Path) -> None:
    there, back = shared_server().new_url(), str(tmp_path / "back")
    copy(store, there)
    copy(there, back)
    assert rows_in(back) == rows_in(store)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("writes", [0, 5, 12])
def test_a_copy_that_was_cut_off_is_no_store_and_goes_on_where_it_was(
    store: str, place: Place, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = place("copy")
    cut_off(monkeypatch, store, target, writes)
    with pytest.raises(StoreError):
        open_store(target, read_only=True)
    done = copy(store, target)
    assert (done.before > 0) == (writes > 0)
    assert rows_in(target) == rows_in(store)


@pytest.mark.usefixtures("small_parts")
def test_an_unfinished_copy_of_what_has_changed_since_is_not_gone_on_with(
    store: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = place("copy")
    cut_off(monkeypatch, store, target, 5)
    with Runtime(store, shop) as runtime:
        runtime.ask(PlaceOrder("another", Decimal(1)))
    with pytest.raises(StoreError, match="unfinished copy of another store, or of this one before"):
        copy(store, target)


def test_a_place_that_holds_a_store_takes_no_copy(store: str, place: Place) -> None:
    target = place("copy")
    copy(store, target)
    before = rows_in(target)
    with pytest.raises(StoreError, match=r"holds a store already|is not empty"):
        copy(store, target)
    assert rows_in(target) == before


def test_a_store_that_a_service_works_on_is_not_copied(
    store: str, place: Place, tmp_path: Path
) -> None:
    with Runtime(store, shop), pytest.raises(LockedStore):
        copy(store, place("copy"))
    target = place("other")
    with (
        Runtime(target, shop),
        pytest.raises(StoreError, match=r"already open for writing|is not empty"),
    ):
        copy(store, target)


def test_what_is_no_store_is_not_made_one_by_copying_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        copy(tmp_path / "nothing", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_to_which_something_else_wrote_is_found_out(
    store: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = place("copy")
    compare = moving._compare
    skipped: list[object] = []

    def late(here: object, there: object, table: str, *others: object) -> None:
        # The copy is taken for that of a store that has fewer rows.
        rows = list(here.scan(table))  # type: ignore[attr-defined]
        if table == "log":
            rows.pop()
            skipped.append(table)
        source = type("Fewer", (), {"scan": lambda *_: iter(rows)})()
        compare(source, there, table, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(moving, "_compare", late)
    with pytest.raises(DamagedStore, match="'log' of the copy is not as its source"):
        copy(store, target)
    assert skipped
    with pytest.raises(StoreError):
        open_store(target, read_only=True)
