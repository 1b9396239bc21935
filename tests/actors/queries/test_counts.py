"""How many instances there are by status, and what is parked by kind, as counts that are kept."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from procession import (
    Aggregate,
    Command,
    Counts,
    Domain,
    Event,
    ParkedKind,
    ProcessManager,
    Retry,
    Runtime,
    handle,
)
from procession.store import DictionaryEngine
from procession.testing import VirtualClock

STREAM = "feed::order-1"


class Ordered(Event):
    order: str
    end: bool = False
    fail: bool = False


class Changed(Event):
    order: str
    fail: bool = True
    end: bool = False


class Break(Command):
    order: str


shop = Domain("shop")
is_broken = True


@shop.register
class Press(Aggregate, identity="order"):
    @handle(Break)
    def press(self, command: Break) -> None:
        raise ValueError("broken")


@shop.register
class Order(ProcessManager, correlate="order", restart=True):
    order: str = ""

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        if event.fail and is_broken:
            raise ValueError("no start")
        if event.end:
            self.mark_as_complete()

    @handle(Changed)
    def on_changed(self, event: Changed) -> None:
        if event.fail and is_broken:
            raise KeyError(event.order)
        if event.end:
            self.mark_as_complete()


@shop.register
class Letter(ProcessManager, stateless=True):
    @handle(Changed)
    def on_changed(self, event: Changed) -> None:
        pass


shop.register(Ordered, Changed)
NAME, LETTER = "shop.Order", "shop.Letter"


@pytest.fixture(autouse=True)
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.is_broken", True)


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=clock) as opened:
        yield opened


def send(runtime: Runtime, *events: Event) -> None:
    for event in events:
        runtime.publish(event, stream=STREAM)
    runtime.settle(timeout=10)


def statuses(runtime: Runtime) -> tuple[int, int, int]:
    """As they are kept, after it was seen that they are what is there, and what `verify` finds."""
    found = runtime.counts()[NAME]
    scanned = Counter(one.status for one in runtime.find(Order))
    kept = {"running": found.running, "complete": found.complete, "suspended": found.suspended}
    assert scanned == Counter(kept)
    assert sum(found.parked.values()) == len(
        [one for one in runtime.parked() if one.process == NAME]
    )
    assert runtime.verify() == []
    return found.running, found.complete, found.suspended


def test_they_follow_an_instance_through_its_life(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert statuses(runtime) == (0, 0, 0)
    send(runtime, Ordered("a"), Ordered("b"), Ordered("c", end=True))
    assert statuses(runtime) == (2, 1, 0)
    send(runtime, Ordered("c"))
    assert statuses(runtime) == (3, 0, 0), "c began anew"
    send(runtime, Changed("a", fail=False, end=True), Ordered("c", end=True))
    assert statuses(runtime) == (1, 2, 0)
    send(runtime, Ordered("c", end=True))
    assert statuses(runtime) == (1, 2, 0), "c began anew and ended in one step"
    send(runtime, Changed("b"), Ordered("c", fail=True), Ordered("d", fail=True))
    assert statuses(runtime) == (0, 1, 3), "one was running, one complete, one not begun"
    b, c, d = (one.id for one in runtime.parked())
    runtime.skip(b)
    assert statuses(runtime) == (1, 1, 2)
    runtime.skip(d)
    assert statuses(runtime) == (1, 1, 1), "d never began"
    monkeypatch.setattr(f"{__name__}.is_broken", False)
    runtime.retry(c)
    runtime.settle(timeout=10)
    assert statuses(runtime) == (2, 1, 0)


def test_what_operators_do_is_counted(runtime: Runtime) -> None:
    send(runtime, Ordered("a"), Ordered("b"), Ordered("c", end=True), Changed("b"))
    for order in ("a", "b", "c"):
        runtime.refresh(Order, order)
    assert statuses(runtime) == (1, 1, 1)
    runtime.end(Order, "a", reason="test")
    assert statuses(runtime) == (0, 2, 1)
    runtime.end(Order, "b", reason="test")
    assert statuses(runtime) == (0, 3, 0), "it was suspended"
    runtime.refresh(Order)
    assert statuses(runtime) == (0, 3, 0)
    send(runtime, Ordered("a"))
    assert statuses(runtime) == (1, 2, 0)


def test_what_is_parked_is_counted_by_error_method_and_line(runtime: Runtime) -> None:
    send(runtime, Ordered("a"), Ordered("b"), Changed("a"), Changed("b"), Ordered("d", fail=True))
    runtime.tell(Break("x"))
    runtime.settle(timeout=10)
    counts = runtime.counts()
    by_handler = {kind.handler: (kind, count) for kind, count in counts[NAME].parked.items()}
    changed, count = by_handler["on_changed"]
    assert (changed.error, count) == ("KeyError", 2)
    file, _, where = changed.place.rpartition(":")
    assert (file, where.partition(" ")[2]) == (__file__, "in on_changed")
    assert by_handler["on_ordered"][0].error == "ValueError"
    listed = next(iter(runtime.parked()))
    assert (listed.handler, listed.place) == (changed.handler, changed.place)
    ((kind, count),) = counts[""].parked.items()
    assert (kind.error, kind.handler, count) == ("ValueError", "", 1)
    assert kind.place.endswith("in press")
    for one in runtime.parked():
        runtime.skip(one.id)
    assert runtime.counts()[NAME].parked == {}
    assert "" not in runtime.counts()


def test_each_process_manager_has_its_own(runtime: Runtime) -> None:
    send(runtime, Ordered("a"), Changed("a", fail=False), Changed("a", fail=False))
    counts = runtime.counts()
    assert counts == {NAME: Counts(running=1), LETTER: Counts(complete=2)}
    assert runtime.counts(Letter) == {LETTER: Counts(complete=2)}
    assert counts[LETTER].instances == 2
    stats = runtime.stats()
    assert (stats["running"], stats["complete"], stats["suspended"]) == (1, 2, 0)


def test_another_attempt_is_no_suspension(clock: VirtualClock) -> None:
    domain = Domain("retrying")

    @domain.register
    class Trying(ProcessManager, correlate="order", retry=Retry(attempts=2)):
        order: str = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            pass

        @handle(Changed)
        def on_changed(self, event: Changed) -> None:
            raise ValueError("never")

    domain.register(Ordered, Changed)
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        send(runtime, Ordered("a"), Changed("a"))
        assert runtime.counts(Trying)["retrying.Trying"] == Counts(running=1)
        clock.advance(timedelta(hours=1))
        runtime.settle(timeout=10)
        found = runtime.counts(Trying)["retrying.Trying"]
        assert (found.running, found.suspended) == (0, 1)
        assert runtime.verify() == []


def test_they_are_right_after_a_crash_and_beside_a_writer(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        send(runtime, Ordered("a"), Ordered("b"), Changed("b"), Ordered("c", end=True))
        with Runtime(tmp_path, shop, read_only=True) as reading:
            assert reading.counts() == runtime.counts()
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        assert statuses(runtime) == (1, 1, 1)
        assert runtime.health().suspended == 1
        send(runtime, Ordered("e"))
        assert statuses(runtime) == (2, 1, 1)


def test_a_process_manager_whose_class_is_gone_is_counted_still(clock: VirtualClock) -> None:
    engine = DictionaryEngine()
    with Runtime(engine, shop, clock=clock) as runtime:
        send(runtime, Ordered("a"))
    other = Domain("other")

    @other.register
    class Visit(ProcessManager, correlate="order", begin="now"):
        order: str = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            pass

    other.register_external_event(Ordered, "shop.Ordered.v1")
    retired = [NAME, LETTER]
    with Runtime(engine.reopened(), other, clock=clock, retired=retired) as runtime:
        assert runtime.counts() == {"other.Visit": Counts(), NAME: Counts(running=1)}


def test_kinds_are_plain_tuples() -> None:
    assert ParkedKind("ValueError", "on_x", "") == ("ValueError", "on_x", "")
