"""A runtime runs on any storage engine, and knows nothing of which one it is."""

from datetime import timedelta
from pathlib import Path

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    apply,
    handle,
    timeout,
)
from procession.store import ClosedError, DictionaryEngine, ReadOnlyStore, StoreError
from procession.testing import VirtualClock

shop = Domain("shop")
HOUR = timedelta(hours=1)


class Place(Command):
    order_id: str


class Forget(Command):
    order_id: str


class Placed(Event):
    order_id: str


class Forgotten(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    is_forgotten: bool = False

    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(command.order_id)

    @handle(Forget)
    def forget(self, command: Forget) -> Forgotten:
        return Forgotten(command.order_id)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        pass

    @apply(Forgotten)
    def _forgotten(self, event: Forgotten) -> None:
        self.is_forgotten = True


@shop.register
class Patience(ProcessManager, correlate="order_id"):
    order_id: str = ""

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.order_id = event.order_id
        self.set_timeout("patience", HOUR)

    @timeout("patience")
    def on_patience(self) -> None:
        self.issue(Forget(self.order_id))

    @handle(Forgotten, end=True)
    def on_forgotten(self, event: Forgotten) -> None:
        pass


def test_what_one_runtime_left_in_an_engine_the_next_one_takes_up(clock: VirtualClock) -> None:
    engine = DictionaryEngine()
    with Runtime(engine, shop, clock=clock) as runtime:
        assert runtime.ask(Place("o1"), timeout=20) == [Placed("o1")]
        runtime.settle(timeout=20)
        assert [one.name for one in runtime.timeouts()] == ["patience"]
    with pytest.raises(ClosedError):
        engine.check_usable()
    engine = engine.reopened()
    with Runtime(engine, shop, clock=clock) as runtime:
        clock.advance(HOUR)
        view = runtime.get(Order, "o1")
        assert view is not None
        assert view.state["is_forgotten"]
        assert [one.id for one in runtime.find(Patience, complete=True)] == ["o1"]


def test_a_runtime_that_reads_runs_nothing_on_an_engine(clock: VirtualClock) -> None:
    engine = DictionaryEngine()
    with Runtime(engine, shop, clock=clock) as runtime:
        runtime.tell(Place("o1"))
        runtime.settle(timeout=20)
    with Runtime(engine.reopened(), shop, read_only=True) as runtime:
        assert [one.id for one in runtime.find(Patience)] == ["o1"]
        with pytest.raises(ReadOnlyStore):
            runtime.tell(Place("o2"))


def test_a_runtime_that_is_in_no_folder_cannot_be_copied(tmp_path: Path) -> None:
    with (
        Runtime(DictionaryEngine(), shop) as runtime,
        pytest.raises(StoreError, match="only a store in a folder"),
    ):
        runtime.backup(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_no_module_above_the_store_names_the_engine_that_a_folder_has() -> None:
    root = Path(__file__).parents[2] / "actors"
    named = [path for path in root.rglob("*.py") if "Lmdb" in path.read_text("utf-8")]
    assert list(root.rglob("*.py"))
    assert not named
