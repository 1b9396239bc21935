"""What is personal, and what was erased or pruned, in a file that goes out."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from procession import Domain, Event, Personal, ProcessManager, Runtime, handle
from procession.exporting import export
from procession.testing import VirtualClock


class Came(Event):
    key: str
    name: Annotated[str, Personal]


class Left(Event):
    key: str


house = Domain("house")
house.register(Came, Left)


@house.register
class Stay(ProcessManager, correlate="key"):
    name: Annotated[str, Personal] = ""

    @handle(Came, start=True)
    def came(self, event: Came) -> None:
        self.name = event.name

    @handle(Left, end=True)
    def left(self, event: Left) -> None: ...


def rows_of(store: Path, *domains: Domain) -> tuple[str, list[dict[str, Any]]]:
    target = store.parent / "log.jsonl"
    export(store, target, *domains)
    said = target.read_text()
    return said, [json.loads(line) for line in said.splitlines()]


def test_fields_that_are_personal_are_masked_where_the_classes_are_given(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Runtime(store, house, durability="none") as runtime:
        runtime.publish(Came(key="a", name="Ann"), stream="stay-a")
        runtime.settle()
    assert "Ann" in rows_of(store)[0]
    said, rows = rows_of(store, house)
    assert "Ann" not in said
    assert len(rows) == 1
    export(store, tmp_path / "log.jsonocel", house)
    assert "Ann" not in (tmp_path / "log.jsonocel").read_text()


def test_of_what_was_erased_or_pruned_a_file_says_no_more(tmp_path: Path) -> None:
    store, clock = tmp_path / "store", VirtualClock()
    with Runtime(store, house, clock=clock, durability="none") as runtime:
        for key in ("a", "b", "c"):
            runtime.publish(Came(key=key, name=f"Ann {key}"), stream=f"stay-{key}")
        runtime.publish(Left(key="b"), stream="stay-b")
        runtime.settle()
        clock.advance(timedelta(seconds=1))
        runtime.erase(Stay, "a")
        runtime.erase(stream="stay-a")
        runtime.prune(before=clock.now())
    for kind in ("log.jsonl", "log.jsonocel", "log.xes"):
        export(store, tmp_path / kind)
        said = (tmp_path / kind).read_text()
        assert "Ann c" in said
        assert "Ann a" not in said
        assert "Ann b" not in said
        assert "erased" in said
