"""States that grow: stored as what was added, read back as a whole, at every version."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, apply, handle
from procession.core.decide import FARTHEST
from procession.store import LmdbStore
from procession.store.layout.frames import number
from tests.verifying import verify_here

if TYPE_CHECKING:
    from pathlib import Path

shop = Domain("growing")


class Did(Event):
    id: str
    how: str
    what: str = ""


@shop.register
class Basket(ProcessManager, correlate="id"):
    id_: str = ""
    items: list[str] = []
    prices: dict[str, Decimal] = {}
    nested: list[list[str]] = [[]]
    note: str = ""

    @handle(Did, start=True)
    def on_did(self, event: Did) -> None:
        how, what = event.how, event.what
        if how == "fill":
            self.items += [f"{number:064}" for number in range(40)]
        elif how == "append":
            self.items.append(what)
        elif how == "price":
            self.prices[what] = Decimal(len(self.prices))
        elif how == "in place":
            self.items[0] = what
        elif how == "deep":
            self.nested[0].append(what)
        elif how == "shrink":
            self.items.pop()
        elif how == "note":
            self.note = what


class Add(Command):
    id: str
    what: str


class Added(Event):
    id: str
    what: str


@shop.register
class Ledger(Aggregate, identity="id", snapshot_every=10):
    lines: list[str] = []

    @handle(Add)
    def add(self, command: Add) -> Added:
        return Added(command.id, command.what)

    @apply(Added)
    def _added(self, event: Added) -> None:
        self.lines.append(event.what)


hows = st.sampled_from(["append", "price", "in place", "deep", "shrink", "note"])


@given(st.lists(st.tuples(hows, st.text("abc", min_size=1, max_size=5)), max_size=12))
def test_every_state_reads_back_as_it_was_whatever_a_step_does(does: list[tuple[str, str]]) -> None:
    model: dict[str, Any] = {"items": [f"{n:064}" for n in range(40)], "note": ""}
    model |= {"prices": {}, "nested": [[]]}
    expected = []
    with Runtime.ephemeral(shop, workers=1, max_awake=1) as runtime:
        runtime.publish(Did("a", "fill"), stream="did-a")
        for how, what in does:
            runtime.publish(Did("a", how, what), stream="did-a")
            if what == "a":
                # It is read from disk in the middle of its changes.
                runtime.ref(Basket, "a").stop()
            if how == "append":
                model["items"].append(what)
            elif how == "price":
                model["prices"][what] = Decimal(len(model["prices"]))
            elif how == "in place":
                model["items"][0] = what
            elif how == "deep":
                model["nested"][0].append(what)
            elif how == "shrink":
                model["items"].pop()
            else:
                model["note"] = what
            expected.append(str(model))
        runtime.settle()
        found = [{name: one.state[name] for name in model} for one in runtime.history(Basket, "a")]
        assert [str(one) for one in found[1:]] == expected
        assert not verify_here(runtime)


def stored_bases(path: Path) -> list[int]:
    with LmdbStore(path, read_only=True) as store:
        return [one.base for one in store.scan_transitions("growing.Basket", "a")]


def test_a_whole_state_is_stored_when_the_changes_outweigh_it_and_at_most_so_many_apart(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.publish(Did("a", "fill"), stream="did-a")
        runtime.publish_many(
            [Did("a", "append", "x") for _ in range(FARTHEST + 50)], stream="did-a"
        )
        runtime.settle()
    bases = stored_bases(tmp_path)
    wholes = [version for version, base in enumerate(bases, 1) if not base]
    assert max(b - a for a, b in pairwise(wholes)) <= FARTHEST
    assert len(wholes) < len(bases) / 20


def test_after_a_refresh_a_whole_state_is_stored(tmp_path: Path) -> None:
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.publish(Did("a", "fill"), stream="did-a")
        runtime.publish_many([Did("a", "append", "x")] * 3, stream="did-a")
        runtime.settle()
        runtime.refresh(Basket, "a")
        runtime.publish(Did("a", "append", "y"), stream="did-a")
        runtime.settle()
    assert stored_bases(tmp_path) == [0, 1, 1, 1, 0, 5]


def test_a_damaged_whole_state_suspends_the_instance_and_is_not_guessed(
    tmp_path: Path, findings: list[Any]
) -> None:
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.publish(Did("a", "fill"), stream="did-a")
        runtime.publish_many([Did("a", "append", "x")] * 3, stream="did-a")
        runtime.settle()
    with LmdbStore(tmp_path, durability="none") as store:
        [(key, raw)] = store._engine.range("transitions", number(1), number(2), 9)
        with store._file.environment.begin_write() as txn:
            txn.put(key, raw[:-3] + b"???", db=store._file._db["transitions"])
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.publish(Did("a", "append", "y"), stream="did-a")
        runtime.settle()
        [parked] = runtime.parked()
        assert "CorruptRecord" in parked.error
        assert runtime.verify()
    findings.clear()


@pytest.mark.parametrize("count", [300])
def test_snapshots_of_an_aggregate_that_grows_are_as_far_apart_as_it_is_large(
    tmp_path: Path, count: int
) -> None:
    written: list[int] = []

    class Watched(LmdbStore):
        def hand_over(self, step: Any) -> Any:
            if step.extras is not None and step.extras.snapshot is not None:
                written.append(step.extras.snapshot[0])
            return super().hand_over(step)

    from procession import runtime as module  # noqa: PLC0415 - its store is put in its place

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "open_store", Watched)
        with Runtime(tmp_path, shop, durability="none") as runtime:
            runtime.tell_many([Add("l", f"{number:032}") for number in range(count)])
            runtime.settle()
    assert len(written) <= 8
    assert written == sorted(written)
    with Runtime(tmp_path, shop, durability="none") as runtime:
        ledger = runtime.get(Ledger, "l")
        assert ledger is not None
        assert len(ledger.state["lines"]) == count
