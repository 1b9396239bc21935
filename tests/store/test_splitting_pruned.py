"""A store that was pruned is taken apart into partitions, which answer what it answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import lmdb
import pytest

from procession import Pruned, Rejected, Runtime
from procession.store import DamagedStore, copy
from procession.testing import VirtualClock
from tests.actors.engine.test_pruning import DAY, Place, Returned, Shipped, named, shop
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 4
WAIT = 30
EARLY, LATE = [f"o{number}" for number in range(8)], [f"o{number}" for number in range(8, 12)]


@pytest.fixture(params=["folder", "database"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the divided store is to be."""
    if request.param == "database":
        return shared_server().new_url(without_tables=True)
    return str(tmp_path / "divided")


def place(runtime: Runtime, names: list[str]) -> None:
    for name in names:
        runtime.tell(Place(order_id=name), command_id=f"place-{name}")
    runtime.settle(WAIT)


def ship(runtime: Runtime, names: list[str]) -> None:
    """From outside, all in one stream."""
    for name in names:
        runtime.publish(Shipped(order_id=name), stream="post-1", event_id=f"s-{name}")
    runtime.settle(WAIT)


def pruned_store(folder: Path, clock: VirtualClock, *, ids: bool, late: bool) -> None:
    """Orders of which most were pruned, some with all that was known of them; one runs."""
    with Runtime(folder, shop(), clock=clock, control=False) as runtime:
        place(runtime, EARLY)
        ship(runtime, EARLY[:5])
        clock.advance(3 * DAY)
        runtime.prune(before=clock.now())
        ship(runtime, EARLY[5:7])
        clock.advance(3 * DAY)
        runtime.prune(before=clock.now(), ids_before=clock.now() - 2 * DAY if ids else None)
        if late:
            place(runtime, LATE)
            ship(runtime, LATE[:2])
        assert runtime.verify() == []


def said_of(runtime: Runtime, domain: Any) -> dict[str, Any]:
    """What it says of all that was ever there, without positions."""
    said: dict[str, Any] = {}
    for name in (*EARLY, *LATE):
        for cls in ("Fulfil", "Order", "Payment"):
            view = runtime.get(named(domain, cls), name)
            said[f"{cls} {name}"] = view
        said[f"history {name}"] = [
            (one.version, one.handler, one.state, one.is_complete, one.cause, one.time)
            for one in runtime.history(named(domain, "Fulfil"), name)
        ]
        for category in ("shop::order", "shop::payment"):
            said[f"{category} {name}"] = [
                (one.version, one.event_id, one.event, one.time)
                for one in runtime.events(f"{category}-{name}")
            ]
    said["post"] = [(one.version, one.event_id, one.event) for one in runtime.events("post-1")]
    said["found"] = sorted(one.id for one in runtime.find(named(domain, "Fulfil")))
    said["counts"] = {name: one.instances for name, one in runtime.counts().items()}
    return said


def answer(runtime: Runtime, name: str) -> tuple[object, ...]:
    """What comes of acts that were done before."""
    events = len(list(runtime.events("post-1")))
    try:
        asked: object = runtime.ask(Place(order_id=name), command_id=f"place-{name}")
    except Pruned:
        asked = Pruned
    except Rejected as error:
        asked = str(error)
    runtime.settle(WAIT)
    ship(runtime, [name])
    runtime.publish(Returned(receipt=f"r-{name}"), stream=f"back-{name}")
    runtime.settle(WAIT)
    return asked, len(list(runtime.events("post-1"))) - events


@pytest.mark.parametrize("late", [True, False], ids=["with newer ones", "hardly anything left"])
@pytest.mark.parametrize("ids", [True, False], ids=["ids forgotten", "ids kept"])
def test_a_pruned_store_that_is_divided_answers_what_it_answered(
    tmp_path: Path, target: str, *, ids: bool, late: bool
) -> None:
    clock, domain = VirtualClock(), shop()
    pruned_store(tmp_path / "whole", clock, ids=ids, late=late)
    copy(tmp_path / "whole", target, partitions=PARTITIONS)
    options: dict[str, Any] = {"clock": clock, "control": False}
    with (
        Runtime(tmp_path / "whole", domain, **options) as whole,
        Runtime(target, domain, **options) as divided,
    ):
        assert said_of(divided, domain) == said_of(whole, domain)
        assert divided.verify() == []
        for name in (*EARLY, *LATE):
            assert answer(divided, name) == answer(whole, name), name
        for runtime in (whole, divided):
            runtime.refresh(named(domain, "Fulfil"))
        assert said_of(divided, domain) == said_of(whole, domain)
        assert divided.verify() == []
        clock.advance(5 * DAY)
        for runtime in (whole, divided):
            runtime.prune(before=clock.now(), ids_before=clock.now() - timedelta(hours=1))
        assert divided.verify() == []
        new = [f"new-{number}" for number in range(6)]
        for runtime in (whole, divided):
            place(runtime, new)
            ship(runtime, new)
        assert divided.verify() == []
        for name in new:
            view = divided.get(named(domain, "Fulfil"), name)
            assert view is not None
            assert view.is_complete, name


@pytest.mark.parametrize("table", ["log", "tombstones", "transitions"])
def test_what_is_missing_and_was_not_pruned_is_found(tmp_path: Path, table: str) -> None:
    pruned_store(tmp_path / "whole", VirtualClock(), ids=False, late=True)
    with lmdb.Environment(str(tmp_path / "whole"), max_dbs=64) as env:
        rows = env.open_db(table.encode())
        with env.begin(write=True) as txn, txn.cursor(rows) as cursor:
            # One before the newest.
            assert cursor.last()
            assert cursor.prev()
            cursor.delete()
    with pytest.raises(DamagedStore, match=r"has nothing at|comes where|is at position"):
        copy(tmp_path / "whole", tmp_path / "divided", partitions=2)
    assert not (tmp_path / "divided").exists()
