"""After-effects of events that were set aside: they run when the instance has handled the event."""

from __future__ import annotations

import shutil
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from procession import (
    SKIP,
    Aggregate,
    Command,
    Context,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    after,
    handle,
    rejected,
)
from procession.store import LmdbStore
from procession.testing import Publish, Simulation, VirtualClock, explore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT = 20
MINUTE = timedelta(minutes=1)


class Placed(Event):
    order: str


class Packed(Event):
    order: str
    number: int


class Billed(Event):
    order: str
    invoice: str


class Paid(Event):
    invoice: str


class Called(Event):
    """No handler takes it."""

    order: str


class Closed(Event):
    order: str


class Stamp(Command):
    order: str
    what: str


class Stamped(Event):
    order: str
    what: str


class World:
    """What goes wrong in handlers and effects, and what the effects found."""

    broken: ClassVar[set[str]] = set()
    broken_effects: ClassVar[set[str]] = set()
    effects: ClassVar[list[tuple[str, str, str]]] = []
    """For each that ran: the instance, the event, and all that was handled by then."""

    @classmethod
    def reset(cls) -> None:
        cls.broken.clear()
        cls.broken_effects.clear()
        cls.effects.clear()


@pytest.fixture(autouse=True)
def world() -> None:
    World.reset()


def designed(**options: Any) -> tuple[Domain, type[ProcessManager]]:
    shop = Domain("shop")

    @shop.register
    class Office(Aggregate, identity="order"):
        @handle(Stamp)
        def stamp(self, command: Stamp) -> Stamped:
            if command.order == "forged":
                raise Rejected("a forgery")
            return Stamped(self.id, command.what)

    @shop.register
    class Shipping(ProcessManager, correlate="order", begin="origin", **options):
        order: str = ""
        invoices: Indexed[set[str]] = set()
        log: list[str] = []
        refused: list[str] = []

        def _note(self, what: str) -> None:
            if what in World.broken:
                raise ValueError(f"broken at {what}")
            self.log.append(what)

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self._note("placed")

        @handle(Packed)
        def on_packed(self, event: Packed) -> None:
            self._note(f"packed {event.number}")

        @handle(Billed)
        def on_billed(self, event: Billed) -> None:
            self.invoices.add(event.invoice)
            self._note("billed")

        @handle(Paid, correlate={"invoices": "invoice"})
        def on_paid(self, event: Paid) -> None:
            self._note("paid")

        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None:
            self._note("closed")

        @rejected(Stamp)
        def on_refused(self, command: Stamp, reason: str) -> None:
            self.refused.append(command.what)

        def _act(self, what: str) -> None:
            World.effects.append((self.id, what, " ".join(self.log)))
            if what in World.broken_effects:
                raise OSError(f"the world is broken at {what}")
            self.issue(Stamp(self.id, what))

        @after(Placed)
        def after_placed(self, event: Placed) -> None:
            self._act("placed")

        @after(Packed)
        def after_packed(self, event: Packed) -> None:
            self._act(f"packed {event.number}")

        @after(Paid)
        def after_paid(self, event: Paid) -> None:
            self._act("paid")

        @after(Called)
        def after_called(self, event: Called) -> None:
            self._act("called")

    return shop, Shipping


def go(runtime: Runtime, *events: Event) -> None:
    runtime.publish_many(events, stream="feed::x-1")
    runtime.settle(timeout=WAIT)


def decide(runtime: Runtime, how: str, *, mended: bool = True) -> None:
    """Retry or skip the one thing that is parked."""
    if mended:
        World.broken.clear()
    (parked,) = runtime.parked()
    (runtime.retry if how == "retry" else runtime.skip)(parked.id)
    runtime.settle(timeout=WAIT)


def stamps(runtime: Runtime | Simulation) -> list[tuple[str, str]]:
    """What effects had stamped: the order and what for."""
    events = [one.event for one in runtime.events()]
    return [(one.order, one.what) for one in events if isinstance(one, Stamped)]


# Parked


def test_the_effect_of_a_start_that_was_parked_runs_once_when_it_is_retried() -> None:
    shop, _ = designed()
    World.broken.add("placed")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"))
        assert World.effects == []
        decide(runtime, "retry")
        assert World.effects == [("a", "placed", "placed")]
        assert stamps(runtime) == [("a", "placed")]
        assert list(runtime._store.scan_owed("shop.Shipping")) == []
        assert runtime.verify() == []


def test_an_effect_waits_while_its_event_is_parked_and_sees_what_its_handler_did() -> None:
    shop, _ = designed()
    World.broken.add("packed 1")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"), Packed("a", 1))
        assert [what for _, what, _ in World.effects] == ["placed"]
        # It fails again, and goes on waiting.
        decide(runtime, "retry", mended=False)
        assert [what for _, what, _ in World.effects] == ["placed"]
        decide(runtime, "retry")
        assert World.effects[1:] == [("a", "packed 1", "placed packed 1")]
        assert runtime.stats()["effects"] == 2


def test_effects_of_events_behind_what_is_parked_wait_with_it_and_run_in_order() -> None:
    shop, _ = designed()
    World.broken.add("packed 1")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"), Packed("a", 1), Packed("a", 2), Placed("b"), Packed("b", 2))
        assert sorted(one[:2] for one in World.effects) == [
            ("a", "placed"),
            ("b", "packed 2"),
            ("b", "placed"),
        ]
        go(runtime, Packed("a", 3))
        decide(runtime, "retry")
        go(runtime, Packed("a", 4))
        found = [what for name, what, _ in World.effects if name == "a"]
        assert found == ["placed", "packed 1", "packed 2", "packed 3", "packed 4"]


def test_an_event_that_is_skipped_has_no_effect_in_that_instance() -> None:
    shop, _ = designed()
    World.broken.add("packed 1")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"), Packed("a", 1), Packed("a", 2))
        decide(runtime, "skip")
        found = [what for _, what, _ in World.effects]
        assert found == ["placed", "packed 2"]
        assert stamps(runtime) == [("a", "placed"), ("a", "packed 2")]


def test_a_start_that_is_skipped_has_no_effect_and_starts_nothing() -> None:
    shop, shipping = designed()
    World.broken.add("placed")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"))
        decide(runtime, "skip")
        assert World.effects == []
        assert runtime.get(shipping, "a") is None


def test_an_effect_of_an_event_for_many_waits_only_where_the_event_is_parked() -> None:
    yard = Domain("yard")
    seen: list[str] = []
    broken = {"b"}

    class Rained(Event):
        fields: list[str]

    @yard.register
    class Field(ProcessManager, correlate=lambda event: event.fields):
        @handle(Rained, start=True)
        def on_rained(self, event: Rained) -> None:
            if self.id in broken:
                raise ValueError("dry")

        @after(Rained)
        def rejoice(self, event: Rained) -> None:
            seen.append(self.id)

    with Runtime.ephemeral(yard) as runtime:
        runtime.publish(Rained(["a", "b", "c"]), stream="yard::sky-1")
        runtime.settle(timeout=WAIT)
        assert sorted(seen) == ["a", "c"]
        broken.clear()
        decide(runtime, "retry")
        assert sorted(seen) == ["a", "b", "c"]


def test_an_event_whose_instances_could_not_be_found_has_its_effect_when_it_is_retried() -> None:
    yard = Domain("yard")
    seen: list[str] = []
    broken = [True]

    class Came(Event):
        guest: str

    def guest(event: Came) -> str:
        if broken:
            raise LookupError("who?")
        return event.guest

    @yard.register
    class Stay(ProcessManager, correlate=guest):
        @handle(Came, start=True)
        def begin(self, event: Came) -> None: ...

        @after(Came)
        def greet(self, event: Came) -> None:
            seen.append(self.id)

    with Runtime.ephemeral(yard) as runtime:
        runtime.publish(Came("a"), stream="yard::door-1")
        runtime.settle(timeout=WAIT)
        assert [one.error for one in runtime.parked()] == ["LookupError: who?"]
        broken.clear()
        decide(runtime, "retry")
        assert seen == ["a"]
        assert list(runtime.parked()) == []


def test_an_effect_without_a_handler_does_not_overtake_what_its_instance_is_to_handle_first() -> (
    None
):
    shop, shipping = designed()
    World.broken.update({"placed", "packed 1"})
    with Runtime.ephemeral(shop) as runtime:
        # One instance whose start is parked, and one that is suspended later.
        go(runtime, Placed("a"), Called("a"))
        World.broken.discard("placed")
        go(runtime, Placed("b"), Packed("b", 1), Called("b"), Packed("b", 2))
        assert [one[:2] for one in World.effects] == [("b", "placed")]
        World.broken.clear()
        for parked in runtime.parked():
            runtime.retry(parked.id)
        runtime.settle(timeout=WAIT)
        assert [one[1:] for one in World.effects if one[0] == "a"] == [
            ("placed", "placed"),
            ("called", "placed"),
        ]
        assert [what for name, what, _ in World.effects if name == "b"] == [
            "placed",
            "packed 1",
            "called",
            "packed 2",
        ]
        assert [one.handler for one in runtime.history(shipping, "a")] == ["on_placed"]
        assert runtime.verify() == []


def test_an_effect_without_a_handler_runs_also_if_what_it_waited_for_is_skipped() -> None:
    shop, _ = designed()
    World.broken.add("packed 1")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"), Packed("a", 1), Called("a"))
        decide(runtime, "skip")
        assert [what for _, what, _ in World.effects] == ["placed", "called"]


def test_an_effect_that_failed_when_it_was_owed_is_parked_and_can_be_retried() -> None:
    shop, _ = designed()
    World.broken.add("placed")
    World.broken_effects.add("placed")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"))
        decide(runtime, "retry")
        (parked,) = runtime.parked()
        assert parked.error == "OSError: the world is broken at placed"
        assert list(runtime._store.scan_owed("shop.Shipping")) == []
        World.broken_effects.clear()
        decide(runtime, "retry")
        assert stamps(runtime) == [("a", "placed")]
        assert list(runtime.parked()) == []


def test_the_answers_to_an_effect_of_a_late_event_reach_the_run_that_handled_it() -> None:
    shop, shipping = designed(restart=True, late="park")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("forged"), Closed("forged"))
        go(runtime, Packed("forged", 1))
        go(runtime, Placed("forged"))
        decide(runtime, "retry")
        view = runtime.get(shipping, "forged")
        assert view is not None
        assert view.state["log"] == ["placed", "packed 1"]
        assert view.state["refused"] == ["placed", "packed 1"]


# To be tried again, held


def test_an_effect_waits_while_its_event_is_to_be_tried_again() -> None:
    clock = VirtualClock()
    shop, _ = designed(retry=Retry(attempts=3, first=MINUTE))
    World.broken.update({"placed", "packed 1"})
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        go(runtime, Placed("a"), Packed("a", 1))
        assert World.effects == []
        World.broken.discard("placed")
        clock.advance(MINUTE)
        runtime.settle(timeout=WAIT)
        assert World.effects == [("a", "placed", "placed")]
        World.broken.clear()
        clock.advance(MINUTE)
        runtime.settle(timeout=WAIT)
        assert World.effects[1:] == [("a", "packed 1", "placed packed 1")]


def test_an_event_that_its_class_skips_has_its_effect_at_once_or_after_a_retry_alike() -> None:
    yard = Domain("yard")
    seen: list[tuple[str, int]] = []

    class Came(Event):
        guest: str

    @yard.register
    class Stay(ProcessManager, correlate="guest"):
        @handle(Came, start=True)
        def begin(self, event: Came) -> None:
            if self.version:
                raise ValueError("again")

        def on_error(self, error: Exception, context: Context) -> Any:
            if self.id == "patient" and context.attempt == 1:
                return Retry(attempts=2, first=MINUTE)
            return SKIP

        @after(Came)
        def greet(self, event: Came) -> None:
            seen.append((self.id, self.context.position))

    clock = VirtualClock()
    with Runtime.ephemeral(yard, clock=clock) as runtime:
        for name in ("hasty", "hasty", "patient", "patient"):
            runtime.publish(Came(name), stream="yard::door-1")
        runtime.settle(timeout=WAIT)
        assert sorted(seen) == [("hasty", 1), ("hasty", 2), ("patient", 3)]
        clock.advance(MINUTE)
        runtime.settle(timeout=WAIT)
        assert seen[3:] == [("patient", 4)]


def test_the_effect_of_an_event_that_came_before_its_start_runs_behind_that_of_the_start() -> None:
    shop, _ = designed(early="hold")
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Packed("a", 1), Packed("a", 2))
        assert World.effects == []
        go(runtime, Placed("a"))
        found = [what for _, what, _ in World.effects]
        assert sorted(found) == ["packed 1", "packed 2", "placed"]
        assert found.index("packed 1") < found.index("packed 2")
        assert all(what in log for _, what, log in World.effects)


def test_the_effect_of_an_event_runs_when_an_instance_learns_its_key() -> None:
    shop, _ = designed()
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Placed("a"), Paid("i"))
        assert [what for _, what, _ in World.effects] == ["placed"]
        go(runtime, Billed("a", "i"))
        assert World.effects[1:] == [("a", "paid", "placed billed paid")]
        assert stamps(runtime) == [("a", "placed"), ("a", "paid")]


def test_the_effect_of_an_event_by_a_learnt_key_is_for_who_had_the_key_when_it_came() -> None:
    yard = Domain("yard")
    seen: list[tuple[str, int]] = []
    entered, release = threading.Event(), threading.Event()

    class Came(Event):
        guest: str
        room: str = ""

    class Rang(Event):
        room: str

    @yard.register
    class Stay(ProcessManager, correlate="guest", unmatched="skip", retry=Retry(attempts=2)):
        room: Indexed[str] = ""

        @handle(Came, start=True)
        def on_came(self, event: Came) -> None:
            self.room = event.room

        @handle(Rang, correlate={"room": "room"})
        def on_rang(self, event: Rang) -> None: ...

        @after(Came)
        def greet(self, event: Came) -> None:
            entered.set()
            assert release.wait(WAIT)

        @after(Rang)
        def answer(self, event: Rang) -> None:
            seen.append((self.id, self.context.position))

    # One effect is in hand, so that the others come when all has been handled.
    with Runtime.ephemeral(yard, max_in_flight=1) as runtime:
        runtime.publish(Came("a", "7"), stream="yard::door-1")
        assert entered.wait(WAIT)
        events = [Rang("7"), Rang("8"), Came("a"), Came("b", "8"), Rang("8"), Came("c", "7")]
        for event in events:
            runtime.publish(event, stream="yard::door-1")
        while len(list(runtime.events())) < 7 or runtime.get(Stay, "c") is None:
            threading.Event().wait(0.005)
        release.set()
        runtime.settle(timeout=WAIT)
        assert seen == [("a", 2), ("b", 6)]
        assert list(runtime._store.scan_owed("yard.Stay")) == []
        assert runtime.verify() == []


def test_an_event_by_a_learnt_key_that_is_passed_over_has_its_effect_as_any_other() -> None:
    yard = Domain("yard")
    seen: list[tuple[str, int]] = []

    class Came(Event):
        guest: str
        room: str

    class Rang(Event):
        room: str

    class Left(Event):
        guest: str

    @yard.register
    class Stay(ProcessManager, correlate="guest"):
        room: Indexed[str] = ""

        @handle(Came, start=True)
        def on_came(self, event: Came) -> None:
            self.room = event.room

        @handle(Rang, correlate={"room": "room"})
        def on_rang(self, event: Rang) -> None:
            raise ValueError("not now")

        @handle(Left, end=True)
        def on_left(self, event: Left) -> None: ...

        def on_error(self, error: Exception, context: Context) -> Any:
            return SKIP

        @after(Rang)
        def answer(self, event: Rang) -> None:
            seen.append((self.id, self.context.position))

    with Runtime.ephemeral(yard) as runtime:
        for event in (Came("a", "7"), Rang("7"), Left("a"), Rang("7")):
            runtime.publish(event, stream="yard::door-1")
        runtime.settle(timeout=WAIT)
        # The second came when the instance had ended.
        assert seen == [("a", 2), ("a", 4)]
        assert list(runtime._store.scan_owed("yard.Stay")) == []


def test_an_owed_effect_waits_for_the_other_process_managers_as_any_other() -> None:
    shop, shipping = designed()
    entered, release = threading.Event(), threading.Event()

    @shop.register
    class Ledger(ProcessManager, stateless=True, begin="origin"):
        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            entered.set()
            assert release.wait(WAIT)

    with Runtime.ephemeral(shop) as runtime:
        runtime.publish_many([Placed("a"), Paid("i")], stream="feed::x-1")
        assert entered.wait(WAIT)
        runtime.publish(Billed("a", "i"), stream="feed::x-1")
        while len(list(runtime.history(shipping, "a"))) < 3:
            threading.Event().wait(0.005)
        # What is published now is committed behind that, when the effects have been looked for.
        runtime.publish(Placed("b"), stream="feed::x-1")
        assert all(what != "paid" for _, what, _ in World.effects)
        release.set()
        runtime.settle(timeout=WAIT)
        assert ("a", "paid", "placed billed paid") in World.effects


# Crashes


def crashed(path: Path) -> Path:
    """What a crash would leave behind now."""
    copy = path.parent / f"{path.name}-crashed"
    copy.mkdir()
    shutil.copy(path / "data.mdb", copy)
    return copy


def test_an_effect_that_is_owed_outlives_a_crash_before_it_runs(tmp_path: Path) -> None:
    shop, _ = designed()
    World.broken.add("placed")
    with Runtime(tmp_path / "store", shop, durability="none") as runtime:
        go(runtime, Placed("a"))
        held, release = threading.Event(), threading.Event()

        def hold(what: str) -> None:
            held.set()
            assert release.wait(WAIT)

        World.broken.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(World, "effects", _Calling(hold))
            (parked,) = runtime.parked()
            runtime.retry(parked.id)
            assert held.wait(WAIT)
            copy = crashed(tmp_path / "store")
            release.set()
            runtime.settle(timeout=WAIT)
    with LmdbStore(copy, durability="none", read_only=True) as store:
        assert list(store.scan_owed("shop.Shipping")) == [(1, "a", 1)]
    with Runtime(copy, shop, durability="none") as runtime:
        runtime.settle(timeout=WAIT)
        assert World.effects == [("a", "placed", "placed")]
        assert stamps(runtime) == [("a", "placed")]
    with Runtime(copy, shop, durability="none") as runtime:
        runtime.settle(timeout=WAIT)
        assert len(World.effects) == 1
        assert runtime.verify() == []


class _Calling(list[tuple[str, str, str]]):
    """A list that calls for what is added to it."""

    def __init__(self, call: Callable[[str], None]) -> None:
        super().__init__()
        self._call = call

    def append(self, found: tuple[str, str, str]) -> None:
        self._call(found[1])
        super().append(found)


def test_what_was_set_aside_before_a_restart_has_its_effect_when_it_is_handled_after_it(
    tmp_path: Path,
) -> None:
    shop, _ = designed(early="hold")
    World.broken.add("packed 1")
    with Runtime(tmp_path, shop, durability="none") as runtime:
        go(runtime, Placed("a"), Packed("a", 1), Called("a"), Packed("b", 2), Paid("i"))
        assert [what for _, what, _ in World.effects] == ["placed"]
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.settle(timeout=WAIT)
        assert len(World.effects) == 1
        decide(runtime, "retry")
        go(runtime, Placed("b"), Billed("b", "i"))
        assert sorted(one[:2] for one in World.effects) == [
            ("a", "called"),
            ("a", "packed 1"),
            ("a", "placed"),
            ("b", "packed 2"),
            ("b", "paid"),
            ("b", "placed"),
        ]
        assert runtime.verify() == []


def test_an_owed_effect_is_found_as_well_by_a_run_that_goes_over_its_event_again(
    tmp_path: Path,
) -> None:
    shop, _ = designed()
    World.broken.update({"placed", "packed 1"})
    with Runtime(tmp_path, shop, durability="none") as runtime:
        go(runtime, Placed("a"), Placed("b"), Packed("b", 1))
        World.broken.clear()
        first, *_ = runtime.parked()
        runtime.retry(first.id)
        runtime.settle(timeout=WAIT)
        assert stamps(runtime) == [("a", "placed")]
    with LmdbStore(tmp_path, durability="none") as store:
        # As a crash leaves it before it is written how far all effects are.
        store.commit([], {"after:shop.Shipping": 0})
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.settle(timeout=WAIT)
        for parked in runtime.parked():
            runtime.retry(parked.id)
        runtime.settle(timeout=WAIT)
        assert stamps(runtime) == [("a", "placed"), ("b", "placed"), ("b", "packed 1")]


def test_effects_that_are_owed_stay_bounded_by_what_may_be_in_hand(tmp_path: Path) -> None:
    shop, _ = designed()
    World.broken.add("placed")
    names = [f"o{number}" for number in range(20)]
    with Runtime(tmp_path, shop, durability="none", max_in_flight=3) as runtime:
        go(runtime, *map(Placed, names))
        World.broken.clear()
        for parked in runtime.parked():
            runtime.retry(parked.id)
        runtime.settle(timeout=WAIT)
        assert sorted(stamps(runtime)) == sorted((name, "placed") for name in names)
        assert runtime.stats()["effects"] == 20


# Whatever happens


PROGRAM: list[Any] = [
    [
        Publish(Packed("a", 1), stream="feed::x-1"),
        Publish(Placed("a"), stream="feed::x-1"),
        Publish(Called("a"), stream="feed::x-1"),
        Publish(Packed("a", 2), stream="feed::x-1"),
    ],
    [
        Publish(Paid("i"), stream="feed::y-1"),
        Publish(Placed("b"), stream="feed::y-1"),
        Publish(Billed("b", "i"), stream="feed::y-1"),
        Publish(Packed("b", 3), stream="feed::y-1"),
    ],
]


def effects_have_their_handlers_behind_them(simulation: Simulation) -> None:
    del simulation
    for name, what, log in World.effects:
        assert what == "called" or what in log, f"{name} acted after {what}, which is not in {log}"


@pytest.mark.parametrize(
    ("of_class", "options"),
    [
        ({"early": "hold"}, {}),
        ({"early": "hold"}, {"max_in_flight": 1}),
        ({"early": "park", "unmatched": "park", "retry": Retry(attempts=2, first=MINUTE)}, {}),
        ({"early": "hold", "retry": Retry(attempts=2, first=MINUTE)}, {"max_awake": 1}),
    ],
    ids=["held", "one in flight", "parked", "tried again"],
)
def test_whatever_happens_each_effect_follows_its_handler_and_sends_its_command_once(
    of_class: dict[str, Any], options: dict[str, Any]
) -> None:
    shop, shipping = designed(**of_class)

    def each_sent_once(simulation: Simulation) -> None:
        handled = [
            (view.id, what)
            for view in simulation.find(shipping)
            for what in view.state["log"]
            if what != "billed"
        ]
        # What no handler takes came behind the start.
        assert sorted(stamps(simulation)) == sorted([*handled, ("a", "called")])
        assert set(handled) >= {("a", "placed"), ("a", "packed 2"), ("b", "packed 3")}
        assert list(simulation._world.store.scan_owed("shop.Shipping")) == []

    explore(
        shop,
        PROGRAM,
        [effects_have_their_handlers_behind_them],
        at_end=[each_sent_once],
        before_each=World.reset,
        allow_parked=True,
        max_examples=120,
        **options,
    )
