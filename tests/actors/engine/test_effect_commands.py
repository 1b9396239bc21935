"""Commands of after-effects: part of the chain, once for each event, whatever crashes."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InfiniteLoopError,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    after,
    apply,
    handle,
    rejected,
)
from procession.store import LmdbStore, StoreError
from procession.testing import Simulation, VirtualClock, explore

WAIT = 20


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Book(Command):
    order: str
    carrier: str


class Booked(Event):
    order: str
    carrier: str


class Close(Command):
    order: str


class Closed(Event):
    order: str


class World:
    """What the effects find outside, and what they did there."""

    calls: ClassVar[list[str]] = []
    before_issue: ClassVar[Callable[[Any], None] | None] = None
    after_issue: ClassVar[Callable[[Any], None] | None] = None


@pytest.fixture(autouse=True)
def world() -> None:
    World.calls.clear()
    World.before_issue = World.after_issue = None


def designed(**options: Any) -> tuple[Domain, type[ProcessManager]]:
    shop = Domain("shop")

    @shop.register
    class Order(Aggregate, identity="order"):
        booked: int = 0

        @handle(Place)
        def place(self, command: Place) -> Placed:
            return Placed(self.id)

        @handle(Book)
        def book(self, command: Book) -> Booked:
            if command.carrier == "none":
                raise Rejected("no such carrier")
            if self.booked:
                raise Rejected("it was booked before")
            return Booked(self.id, command.carrier)

        @handle(Close)
        def close(self, command: Close) -> Closed:
            return Closed(self.id)

        @apply(Booked)
        def _booked(self, event: Booked) -> None:
            self.booked += 1

        @apply(Closed)
        def _closed(self, event: Closed) -> None:
            self.booked = 0

    @shop.register
    class Shipping(ProcessManager, correlate="order", **options):
        order: str = ""
        carrier: str = ""
        refused: str = ""

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.order = event.order

        @after(Placed)
        def ask_carriers(self, event: Placed) -> None:
            World.calls.append(self.id)
            if World.before_issue is not None:
                World.before_issue(self)
            self.issue(Book(event.order, "none" if event.order.startswith("x") else "post"))
            if World.after_issue is not None:
                World.after_issue(self)

        @handle(Booked)
        def on_booked(self, event: Booked) -> None:
            self.carrier = event.carrier

        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None:
            pass

        @rejected(Book)
        def on_refused(self, command: Book, reason: str) -> None:
            self.refused = reason

    return shop, Shipping


def state(runtime: Any, cls: type[ProcessManager], order: str) -> dict[str, Any]:
    view = runtime.get(cls, order)
    assert view is not None
    found: dict[str, Any] = view.state
    return found


# Part of the chain


def test_a_command_of_an_effect_has_correlation_cause_and_headers_of_its_event() -> None:
    shop, shipping = designed()
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"), headers={"actor": "ada"})
        runtime.settle(timeout=WAIT)
        placed, booked = runtime.events()
        assert booked.event == Booked("a", "post")
        assert booked.correlation_id == placed.correlation_id
        assert booked.causation_id == "shop.Shipping-a@after1.0"
        assert booked.headers == {"actor": "ada"}
        assert state(runtime, shipping, "a")["carrier"] == "post"
        assert runtime.verify() == []


def test_a_trace_goes_through_an_effect_up_and_down() -> None:
    shop, _ = designed()
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        first, last = (one.event_id for one in runtime.events())
        down, up = runtime.trace(first), runtime.trace(last)
        assert str(down) == str(up)
        assert [(depth, node.kind) for depth, node in down.walk()] == [
            (0, "command"),
            (1, "event"),
            (2, "transition"),
            (2, "effect"),
            (3, "command"),
            (4, "event"),
            (5, "transition"),
        ]
        effect = next(node for _, node in down.walk() if node.kind == "effect")
        assert (effect.id, effect.type) == ("shop.Shipping-a@after1", "ask_carriers")
        assert (effect.process, effect.instance) == ("shop.Shipping", "a")


def test_issue_in_an_effect_returns_the_id_under_which_the_command_goes() -> None:
    shop, _ = designed()
    ids: list[str] = []
    World.before_issue = lambda process: ids.append(process.issue(Close("other")))
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        (closed,) = (one for one in runtime.events() if one.event == Closed("other"))
        assert ids == [closed.causation_id] == ["shop.Shipping-a@after1.0"]


def test_a_command_of_an_effect_cannot_be_held_back() -> None:
    shop, _ = designed()
    errors: list[str] = []

    def hold_back(process: Any) -> None:
        with pytest.raises(RuntimeError) as caught:
            process.issue(Close("a"), after=timedelta(minutes=1))
        errors.append(str(caught.value))

    World.before_issue = hold_back
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        (error,) = errors
        assert error.startswith("shop.Shipping.ask_carriers: self.issue(...) with `after` or `at`")
        assert "set a timeout" in error


def test_what_is_issued_behind_the_end_of_an_effect_is_refused() -> None:
    shop, _ = designed()
    left: list[Any] = []
    World.after_issue = left.append
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        (process,) = left
        with pytest.raises(RuntimeError, match="after the @after method had returned"):
            process.issue(Close("a"))


def test_a_stateless_process_manager_issues_from_effects_as_well() -> None:
    shop, _ = designed()

    @shop.register
    class Closing(ProcessManager, stateless=True):
        @after(Booked)
        def close(self, event: Booked) -> None:
            self.issue(Close(event.order))

    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        assert [one.event for one in runtime.events()][2:] == [Closed("a")]
        assert runtime.verify() == []


def test_a_chain_through_effects_stops_at_max_chain_and_is_parked_once() -> None:
    loop = Domain("loop")

    @loop.register
    class Bell(Aggregate, identity="order"):
        @handle(Place)
        def ring(self, command: Place) -> Placed:
            return Placed(self.id)

    @loop.register
    class Echo(ProcessManager, stateless=True, retry=Retry(attempts=5)):
        @after(Placed)
        def again(self, event: Placed) -> None:
            World.calls.append(self.id)
            self.issue(Place(event.order))

    with Runtime.ephemeral(loop, max_chain=5, clock=VirtualClock()) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        assert len(list(runtime.events())) == 6
        (parked,) = runtime.parked()
        assert InfiniteLoopError.__name__ in parked.error
        # What the last effect does in the world, it has done.
        assert len(World.calls) == 6


def test_a_loop_through_an_effect_that_ends_by_the_world_is_no_echo() -> None:
    """What an effect issues comes of the world, so the same event in the same state may end."""
    shop = Domain("shop")

    @shop.register
    class Pump(Aggregate, identity="order"):
        @handle(Place)
        def ask(self, command: Place) -> Placed:
            return Placed(self.id)

    @shop.register
    class Polling(ProcessManager, correlate="order"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            pass

        @after(Placed)
        def look(self, event: Placed) -> None:
            World.calls.append(self.id)
            if len(World.calls) < 20:
                self.issue(Place(event.order))

    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        assert len(World.calls) == 20
        assert list(runtime.parked()) == []


# Refusals


def test_a_refused_command_of_an_effect_is_told_to_the_instance_as_any_of_its_commands() -> None:
    shop, shipping = designed()
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("x"))
        runtime.settle(timeout=WAIT)
        assert state(runtime, shipping, "x")["refused"] == "no such carrier"
        *_, told = runtime.history(shipping, "x")
        assert (told.handler, told.cause) == ("on_refused", "shop.Shipping-x@after1.0")
        (placed,) = runtime.events()
        assert "refused: no such carrier" in str(runtime.trace(placed.event_id))
        assert runtime.verify() == []
        # What made the state makes it again.
        runtime.refresh(shipping, "x")
        assert state(runtime, shipping, "x")["refused"] == "no such carrier"


def test_a_refused_command_of_an_effect_that_no_method_hears_of_is_parked() -> None:
    shop, _ = designed()

    @shop.register
    class Deaf(ProcessManager, correlate="order"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            pass

        @after(Booked)
        def book_again(self, event: Booked) -> None:
            self.issue(Book(event.order, "post"))

    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        (parked,) = runtime.parked()
        assert parked.cause == "shop.Deaf-a@after2.0"
        assert "it was booked before" in parked.error
        assert runtime.verify() == []


def test_an_answer_to_an_effect_of_an_ended_run_does_not_reach_the_next_run() -> None:
    """The effect of the first run waits for its retry while the id is started anew."""
    clock = VirtualClock()
    shop, shipping = designed(restart=True, retry=Retry(attempts=3, first=timedelta(minutes=1)))

    def fail_once(process: Any) -> None:
        if len(World.calls) == 1:
            raise OSError("the carrier does not answer")

    World.before_issue = fail_once
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        runtime.ask(Close("a"))
        runtime.settle(timeout=WAIT)
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        assert state(runtime, shipping, "a")["carrier"] == ""
        clock.advance(timedelta(minutes=1))
        runtime.settle(timeout=WAIT)
        booked = [one for one in runtime.events() if isinstance(one.event, Booked)]
        # The first was answered for the run that has ended; the second run's own was refused.
        assert [one.causation_id for one in booked] == ["shop.Shipping-a@after1.0"]
        assert state(runtime, shipping, "a")["carrier"] == ""
        assert state(runtime, shipping, "a")["refused"] == "it was booked before"
        assert runtime.verify() == []


# Crashes


def test_an_effect_that_fails_sends_none_of_its_commands_and_its_retry_sends_them_once() -> None:
    clock = VirtualClock()
    shop, _ = designed(retry=Retry(attempts=3, first=timedelta(minutes=1)))

    def fail_once(process: Any) -> None:
        if len(World.calls) == 1:
            raise OSError("lost the line")

    World.after_issue = fail_once
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        assert len(list(runtime.events())) == 1
        clock.advance(timedelta(minutes=1))
        runtime.settle(timeout=WAIT)
        assert [one.event for one in runtime.events()] == [Placed("a"), Booked("a", "post")]


def test_a_parked_effect_that_is_retried_sends_its_commands_and_is_parked_no_more() -> None:
    shop, _ = designed()

    def fail_once(process: Any) -> None:
        if len(World.calls) == 1:
            raise OSError("lost the line")

    World.after_issue = fail_once
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        (parked,) = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=WAIT)
        assert list(runtime.parked()) == []
        assert [one.event for one in runtime.events()] == [Placed("a"), Booked("a", "post")]
        assert runtime.verify() == []


def test_an_effect_whose_commands_are_on_disk_is_done_though_how_far_all_are_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _ = designed()
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
    with LmdbStore(tmp_path, durability="none") as store:
        # As a crash leaves it between the commit of the effect and that of its checkpoint.
        store.commit([], {"after:shop.Shipping": 0})
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.settle(timeout=WAIT)
        assert len(World.calls) == 1
        assert len(list(runtime.events())) == 2


def test_commands_of_an_effect_survive_a_commit_that_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, shipping = designed()
    refused: list[int] = []
    close = LmdbStore.close_commit

    def refuse_once(self: LmdbStore, checkpoints: Any = None) -> None:
        if World.calls and not refused:
            refused.append(1)
            self.drop_commit()
            raise StoreError("the disk refused")
        close(self, checkpoints)

    monkeypatch.setattr(LmdbStore, "close_commit", refuse_once)
    with Runtime(tmp_path, shop, durability="none") as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        assert refused
        assert [one.event for one in runtime.events()] == [Placed("a"), Booked("a", "post")]
        assert state(runtime, shipping, "a")["carrier"] == "post"


def test_whatever_crashes_each_effect_sends_its_command_once() -> None:
    shop, shipping = designed()

    def once(simulation: Simulation) -> None:
        events = [one.event for one in simulation.events()]
        for order in ("a", "b"):
            assert events.count(Booked(order, "post")) == 1, order
            assert state(simulation, shipping, order)["carrier"] == "post"
            # A second one would be refused, and the refusal told.
            assert state(simulation, shipping, order)["refused"] == ""
        assert state(simulation, shipping, "xa")["refused"] == "no such carrier"

    explore(shop, [Place("a"), Place("b"), Place("xa")], at_end=[once], max_examples=80)
