"""What an earlier run left to instances: they are asked for in waves, and none is left out."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from procession.engine.ahead_reads import AheadReads
from procession.engine.recovery import Recovery
from procession.store import CommandRecord, DictionaryEngine, RefusalRecord, Step, StepExtras, Store

if TYPE_CHECKING:
    from procession.engine.instance_actor import InstanceMessage

P = "shop.P"


def refused(store: Store, instance: str) -> None:
    command = CommandRecord("c", "C", "s", 1, b"\x80", "c", None, P, instance, 1)
    extras = StepExtras(refusal=RefusalRecord(command, "no"))
    store.commit([Step(process=P, instance=instance, extras=extras)])


def test_instances_that_sleep_are_asked_for_in_a_wave_before_they_are_brought_what_was_left() -> (
    None
):
    engine = DictionaryEngine()
    store = Store(engine)
    for instance in "abc":
        refused(store, instance)
    waves: list[int] = []
    newest = engine.newest

    def note(table: str, ranges: Any) -> Any:
        waves.append(len(ranges))
        return newest(table, ranges)

    engine.newest = note  # type: ignore[method-assign]
    delivered: list[str] = []

    def deliver(process: str, instance: str, message: InstanceMessage) -> bool:
        del process, message
        delivered.append(instance)
        return True

    services: Any = SimpleNamespace(
        store=store,
        dispatcher=SimpleNamespace(schedule=lambda actor: None),
        journal=SimpleNamespace(lock=threading.Lock(), generation=0),
        residency=SimpleNamespace(asleep=lambda actors: [one for one in actors if one[1] != "b"]),
    )
    reads = AheadReads(store, services.journal)
    recovery = Recovery(services, reads, deliver, max_in_flight=10)
    recovery.work()
    assert delivered == ["a", "b", "c"]
    assert waves == [2]
