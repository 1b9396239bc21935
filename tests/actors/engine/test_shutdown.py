"""Closing: in every state, from everywhere, in bounded time; what was acknowledged stays."""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import procession
from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    after,
    apply,
    handle,
    timeout,
)
from procession.store import ClosedError, LmdbStore, StoreError, verify
from procession.testing import VirtualClock

WAIT = 60
"""Seconds after which a test has failed; nothing waits for so long."""

AT_ONCE = 0.1
"""Seconds that closing waits for handlers which never return in these tests."""

close = Runtime.close
"""Without the check of the store that the other tests make first, and which the disk holds up."""

shop = Domain("closing")


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Pack(Command):
    order: str


class Packed(Event):
    order: str


class Noted(Event):
    order: str


class Hold:
    """Where a handler stays until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.entries = 0

    def enter(self) -> None:
        self.entries += 1
        self.entered.set()
        assert self.let_go.wait(WAIT)


holds: dict[str, Hold] = {}
"""By the name of the handler."""


def passes(name: str) -> None:
    if name in holds:
        holds[name].enter()


@shop.register
class Order(Aggregate, identity="order"):
    times: int = 0

    @handle(Place)
    def place(self, command: Place) -> Placed:
        passes("place")
        return Placed(self.id)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.times += 1


@shop.register
class Box(Aggregate, identity="order"):
    @handle(Pack)
    def pack(self, command: Pack) -> Packed:
        passes("pack")
        return Packed(self.id)


@shop.register
class Handling(ProcessManager, correlate="order"):
    packed: int = 0
    notes: int = 0
    rings: int = 0

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        passes("on_placed")
        self.set_timeout("soon", timedelta(minutes=1))
        self.issue(Pack(self.id))

    @handle(Packed)
    def on_packed(self, event: Packed) -> None:
        self.packed += 1

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        passes("on_noted")
        self.notes += 1

    @timeout("soon")
    def on_soon(self) -> None:
        passes("on_soon")
        self.rings += 1

    @after(Packed)
    def tell(self, event: Packed) -> None:
        passes("tell")


def ours() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("procession")}


@pytest.fixture(autouse=True)
def let_go(findings: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody is held any more, and every thread ends by itself, late ones too."""
    monkeypatch.setattr("procession.engine.engine.GRACE", 0.3)
    holds.clear()
    yield
    for hold in holds.values():
        hold.let_go.set()
    for thread in ours():
        thread.join(WAIT)
        assert not thread.is_alive(), thread


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def hold(*names: str) -> Hold:
    one = Hold()
    for name in names:
        holds[name] = one
    return one


def until(holds_true: Callable[[], bool]) -> None:
    """Look again and again, where there is nothing to wait for."""
    pause = threading.Event()
    for _ in range(WAIT * 500):
        if holds_true():
            return
        pause.wait(0.002)
    raise AssertionError("it did not come about")


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is looked at by the test
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def ended(thread: threading.Thread) -> None:
    thread.join(WAIT)
    assert not thread.is_alive(), "it still waits"


# In every state


class World:
    """A runtime that is brought into some state, and what it acknowledged."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.clock = VirtualClock()
        self.runtime = Runtime(path, shop, clock=self.clock)
        self.acknowledged: list[str] = []
        self.stack = stack

    def tell(self, name: str) -> None:
        self.runtime.tell(Place(name))
        self.acknowledged.append(name)

    def patch_commit(self, commit: Callable[..., Any]) -> None:
        store: Any = self.runtime._store
        original = store.close_commit

        def close_commit(*arguments: Any) -> Any:
            try:
                return commit(original, *arguments)
            except StoreError:
                # As a commit that fails does by itself.
                store.drop_commit()
                raise

        store.close_commit = close_commit

        def undo() -> None:
            store.close_commit = original

        self.stack.callback(undo)


def idle(world: World) -> None:
    world.tell("o1")
    world.runtime.settle(WAIT)


def never_used(world: World) -> None:
    pass


def with_much_in_hand(world: World) -> None:
    for number in range(300):
        world.tell(f"o{number}")


def in_a_turn(world: World) -> None:
    here = hold("on_placed")
    world.tell("o1")
    assert here.entered.wait(WAIT)
    until_closing(world, here.let_go.set)


def in_an_effect(world: World) -> None:
    here = hold("tell")
    world.tell("o1")
    assert here.entered.wait(WAIT)
    until_closing(world, here.let_go.set)


def in_a_commit(world: World) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def commit(original: Callable[..., Any], *arguments: Any) -> Any:
        entered.set()
        assert go_on.wait(WAIT)
        return original(*arguments)

    world.tell("o1")
    world.patch_commit(commit)
    in_thread(lambda: world.runtime.tell(Place("o2")))
    assert entered.wait(WAIT)
    until_closing(world, go_on.set)


def stale(world: World) -> None:
    """The disk refuses once; the actors have yet to go back to what the log says."""
    refused = threading.Event()

    def commit(original: Callable[..., Any], *arguments: Any) -> Any:
        if not refused.is_set():
            refused.set()
            raise StoreError("refused once")
        return original(*arguments)

    here = hold("on_placed")
    world.tell("o1")
    assert here.entered.wait(WAIT)
    world.patch_commit(commit)
    here.let_go.set()
    assert refused.wait(WAIT)


def the_disk_refusing(world: World) -> None:
    refused = threading.Event()

    def commit(original: Callable[..., Any], *arguments: Any) -> Any:
        refused.set()
        raise StoreError("no room")

    here = hold("on_placed")
    world.tell("o1")
    assert here.entered.wait(WAIT)
    world.patch_commit(commit)
    here.let_go.set()
    assert refused.wait(WAIT)


def timers_due(world: World) -> None:
    world.tell("o1")
    world.runtime.settle(WAIT)
    world.clock.advance(timedelta(minutes=2), settle=False)


def never_returning(name: str) -> Callable[[World], None]:
    def state(world: World) -> None:
        here = hold(name)
        world.tell("o1")
        if name == "on_soon":
            world.runtime.settle(WAIT)
            world.clock.advance(timedelta(minutes=2), settle=False)
        assert here.entered.wait(WAIT)

    return state


def until_closing(world: World, do: Callable[[], None]) -> None:
    """Have something done as soon as the runtime is being closed."""
    engine = world.runtime._running
    assert engine is not None

    def watch() -> None:
        until(lambda: engine.is_closing)
        do()

    in_thread(watch)


@pytest.mark.parametrize(
    "state",
    [
        never_used,
        idle,
        with_much_in_hand,
        in_a_turn,
        in_an_effect,
        in_a_commit,
        stale,
        the_disk_refusing,
        timers_due,
    ],
)
def test_closing_ends_in_every_state_with_no_thread_left_and_nothing_lost(
    path: Path, state: Callable[[World], None]
) -> None:
    with ExitStack() as stack:
        world = World(path, stack)
        state(world)
        world.runtime.close()
    assert ours() == set()
    everything_is_there(path, world)


@pytest.mark.parametrize("name", ["place", "pack", "on_placed", "tell", "on_soon"])
def test_closing_gives_up_on_a_handler_that_never_returns_and_loses_nothing(
    path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        world = World(path, stack)
        never_returning(name)(world)
        world.runtime.close(timeout=AT_ONCE)
    (late,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert re.search(
        rf"\w+\.{name} of 'o1', at .*test_shutdown.py|\w+\.{name} of 'o1', at ", late.getMessage()
    )
    held = holds.pop(name)
    # It is opened while the late one is still in its handler.
    everything_is_there(path, world)
    held.let_go.set()
    until(lambda: not ours())
    assert verify(path) == []


def everything_is_there(path: Path, world: World) -> None:
    """What was acknowledged is carried out by the next run, each once."""
    holds.clear()
    with Runtime(path, shop, clock=world.clock) as again:
        again.settle(WAIT)
        world.clock.advance(timedelta(minutes=5))
        again.settle(WAIT)
        for name in world.acknowledged:
            process = again.get(Handling, name)
            assert process is not None
            assert process.state["packed"] == process.state["rings"] == 1
            order = again.get(Order, name)
            assert order is not None
            assert order.version == 1
    assert verify(path) == []


# What comes back late


def test_a_worker_that_comes_back_late_does_nothing_more(path: Path) -> None:
    here = hold("place")
    runtime = Runtime(path, shop)
    future = runtime.ask(Place("o1"), block=False)
    assert here.entered.wait(WAIT)
    # Behind the first one, in the inbox of the same actor.
    behind = runtime.ask(Place("o1"), block=False)
    engine = runtime._running
    assert engine is not None
    runtime.close(timeout=AT_ONCE)
    for one in (future, behind):
        with pytest.raises(ClosedError, match="closed before there was an answer"):
            one.get(timeout=WAIT)
    here.let_go.set()
    until(lambda: not ours())
    assert here.entries == 1, "it went on with what was behind"
    assert not engine.journal.has_work
    with Runtime(path, shop) as again:
        assert again.get(Order, "o1") is None


def test_a_late_worker_that_reads_the_store_is_refused(path: Path) -> None:
    runtime = Runtime(path, shop)
    here = Hold()
    errors: list[BaseException] = []

    def read() -> None:
        here.enter()
        try:
            runtime._store.read_log(0, 1)
        except ClosedError as error:
            errors.append(error)
        try:
            runtime._store.close_commit()
        except ClosedError as error:
            errors.append(error)

    holds["place"] = Hold()
    holds["place"].enter = read  # type: ignore[method-assign]
    runtime.ask(Place("o1"), block=False)
    assert here.entered.wait(WAIT)
    runtime.close(timeout=AT_ONCE)
    here.let_go.set()
    until(lambda: not ours())
    assert len(errors) == 2


def test_a_store_that_is_read_for_long_keeps_no_caller_from_closing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = Runtime(path, shop)
    reads, may_end = threading.Event(), threading.Event()

    def read_for_long() -> None:
        # As verify() and backup() do.
        with runtime._store.snapshot():
            reads.set()
            may_end.wait(WAIT)

    reader = threading.Thread(target=read_for_long)
    reader.start()
    assert reads.wait(WAIT)
    runtime.tell(Place("o1"))
    close(runtime, timeout=AT_ONCE)
    # It came back while the store is still read, which ends here.
    assert not may_end.is_set()
    with pytest.raises(ClosedError):
        runtime.get(Order, "o1")
    assert "which is read for long" in caplog.text
    may_end.set()
    reader.join()
    until(lambda: not ours())
    assert verify(path) == []
    with Runtime(path, shop) as again:
        again.settle(timeout=WAIT)
        assert again.get(Order, "o1") is not None


def test_an_interrupt_of_closing_is_raised_also_if_the_store_cannot_be_let_go_of_in_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(path, shop)
    outcomes: list[BaseException] = [KeyboardInterrupt(), TimeoutError()]

    def apart(*_: object, **__: object) -> None:
        raise outcomes.pop(0)

    with monkeypatch.context() as patches:
        patches.setattr("procession.runtime.apart", apart)
        with pytest.raises(KeyboardInterrupt):
            runtime.close()
    assert not outcomes
    # It had not begun; closing again does it.
    runtime.close()
    assert not ours()


def test_a_commit_that_the_disk_never_answers_holds_nobody_up(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        world = World(path, stack)
        entered, go_on = threading.Event(), threading.Event()
        stack.callback(go_on.set)
        world.tell("o1")
        world.runtime.settle(WAIT)
        store = world.runtime._store
        assert isinstance(store, LmdbStore)
        environment = store._file.environment
        begin = environment.begin_write

        def stuck() -> Any:
            entered.set()
            assert go_on.wait(WAIT)
            return begin()

        environment.begin_write = stuck  # type: ignore[method-assign]
        teller, errors = in_thread(lambda: world.runtime.tell(Place("o2")))
        assert entered.wait(WAIT)
        close(world.runtime, timeout=AT_ONCE)
        ended(teller)
        assert isinstance(errors[0], ClosedError)
        assert "has not answered a commit" in caplog.text
        with pytest.raises(procession.LockedStore):
            Runtime(path, shop)
        go_on.set()
        until(lambda: not ours() and environment._closed)
    until(lambda: environment._writer_fd < 0)
    everything_is_there(path, world)


# Whoever waits


def ask(runtime: Runtime) -> object:
    return runtime.ask(Place("o1"))


def ask_with_timeout(runtime: Runtime) -> object:
    return runtime.ask(Place("o1"), timeout=WAIT)


def refresh(runtime: Runtime) -> object:
    return runtime.refresh(Handling, "o0")


def move(runtime: Runtime) -> object:
    return runtime.move_timeout(Handling, "o0", "soon", timedelta(hours=1))


def cancel(runtime: Runtime) -> object:
    return runtime.cancel_timeout(Handling, "o0", "soon")


def settle(runtime: Runtime) -> object:
    runtime.settle()
    return None


@pytest.mark.parametrize("call", [ask, ask_with_timeout, refresh, move, cancel, settle])
def test_who_waits_for_a_handler_that_never_returns_is_told_that_it_was_closed(
    path: Path, call: Callable[[Runtime], object]
) -> None:
    runtime = Runtime(path, shop)
    runtime.ask(Place("o0"))
    runtime.settle(WAIT)
    here = hold("place", "on_noted")
    runtime.publish(Noted("o0"), stream="closing::notes-1")
    assert here.entered.wait(WAIT)
    waiter, errors = in_thread(lambda: call(runtime))
    engine = runtime._running
    assert engine is not None
    until(lambda: bool(len(engine.services.replies) or engine.dispatcher._latches))
    runtime.close(timeout=AT_ONCE)
    ended(waiter)
    assert isinstance(errors[0], ClosedError)
    assert "closed" in str(errors[0])


def tell(runtime: Runtime) -> object:
    return runtime.tell(Place("o1"))


def tell_many(runtime: Runtime) -> object:
    return runtime.tell_many([Place("o1"), Place("o2")], command_id=lambda one: one.order)


def publish(runtime: Runtime) -> object:
    return runtime.publish(Noted("o1"), stream="closing::notes-1")


def publish_many(runtime: Runtime) -> object:
    return runtime.publish_many([Noted("o1"), Noted("o2")], stream="closing::notes-1")


def skip(runtime: Runtime) -> object:
    runtime.skip(1)
    return None


def retry(runtime: Runtime) -> object:
    runtime.retry(1)
    return None


@pytest.mark.parametrize("call", [tell, tell_many, publish, publish_many, skip, retry])
def test_who_waits_for_a_disk_that_never_answers_is_told_that_it_was_closed(
    path: Path, call: Callable[[Runtime], object]
) -> None:
    with ExitStack() as stack:
        world = World(path, stack)
        runtime = world.runtime
        runtime.ask(Place("o0"))

        def fail() -> None:
            raise ValueError("it is parked")

        hold("on_noted").enter = fail  # type: ignore[method-assign]
        runtime.publish(Noted("o0"), stream="closing::notes-1")
        runtime.settle(WAIT)
        assert len(list(runtime.parked())) == 1
        go_on = threading.Event()
        stack.callback(go_on.set)

        def commit(original: Callable[..., Any], *arguments: Any) -> Any:
            assert go_on.wait(WAIT)
            return original(*arguments)

        world.patch_commit(commit)
        waiter, errors = in_thread(lambda: call(runtime))
        engine = runtime._running
        assert engine is not None
        until(lambda: bool(len(engine.services.replies)))
        runtime.close(timeout=AT_ONCE)
        ended(waiter)
        assert isinstance(errors[0], ClosedError)
        go_on.set()
        until(lambda: not ours())


@pytest.mark.parametrize("call", [ask, tell, publish, tell_many])
def test_who_comes_in_just_before_the_end_is_told_as_well(
    path: Path, call: Callable[[Runtime], object]
) -> None:
    """The door was open when they looked, and all was closed before they got in."""
    runtime = Runtime(path, shop)
    engine = runtime._running
    runtime.close()
    assert engine is not None
    runtime._engine = lambda *_, **__: engine  # type: ignore[method-assign]
    waiter, errors = in_thread(lambda: call(runtime))
    ended(waiter)
    assert isinstance(errors[0], ClosedError)


def test_many_who_call_while_it_is_closed_all_get_an_answer(path: Path) -> None:
    runtime = Runtime(path, shop)
    acknowledged: list[str] = []
    begun = threading.Semaphore(0)

    def work(number: int) -> None:
        for count in range(100_000):
            name = f"o{number}-{count}"
            calls = (runtime.tell, runtime.ask)
            calls[count % 2](Place(name))
            acknowledged.append(name)
            begun.release()

    workers = [in_thread(lambda number=number: work(number)) for number in range(6)]  # type: ignore[misc]
    for _ in range(200):
        assert begun.acquire(timeout=WAIT)
    runtime.close()
    for thread, errors in workers:
        ended(thread)
        assert isinstance(errors[0], ClosedError)
    assert ours() == set()
    with Runtime(path, shop) as again:
        again.settle(WAIT)
        for name in acknowledged:
            assert again.get(Order, name) is not None


# Twice, and from elsewhere


def test_closing_from_another_thread_closes_it_for_all(path: Path) -> None:
    runtime = Runtime(path, shop)
    runtime.ask(Place("o1"))
    closer, errors = in_thread(runtime.close)
    ended(closer)
    assert errors == []
    runtime.close()
    with pytest.raises(ClosedError):
        runtime.ask(Place("o2"))
    assert ours() == set()


def test_closing_a_second_time_meanwhile_waits_until_it_is_closed(path: Path) -> None:
    here = hold("place")
    runtime = Runtime(path, shop)
    runtime.ask(Place("o1"), block=False)
    assert here.entered.wait(WAIT)
    closers = [in_thread(runtime.close) for _ in range(3)]
    engine = runtime._running
    assert engine is not None
    until(lambda: engine.is_closing)
    assert all(thread.is_alive() for thread, _ in closers)
    here.let_go.set()
    for thread, errors in closers:
        ended(thread)
        assert errors == []
    with pytest.raises(ClosedError):
        runtime._store.last_position()
    assert ours() == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreError("unreadable")])
def test_an_opening_that_fails_leaves_no_thread_and_no_lock(
    path: Path, error: BaseException | type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    Runtime(path, shop).close()

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patches:
        # After the threads were started.
        patches.setattr(LmdbStore, "last_sequences", fail)
        with pytest.raises((KeyboardInterrupt, StoreError)):
            Runtime(path, shop)
    assert ours() == set()
    Runtime(path, shop).close()


def test_closing_while_others_read_never_closes_the_file_under_them(path: Path) -> None:
    for _ in range(10):
        runtime = Runtime(path, shop)
        names = [f"o{number}" for number in range(50)]
        runtime.tell_many([Place(name) for name in names])
        reading = threading.Semaphore(0)

        def read(runtime: Runtime = runtime, reading: threading.Semaphore = reading) -> None:
            while True:
                list(runtime.events())
                list(runtime.find(Handling))
                reading.release()

        readers = [in_thread(read) for _ in range(4)]
        for _ in readers:
            assert reading.acquire(timeout=WAIT)
        runtime.close()
        for thread, errors in readers:
            ended(thread)
            assert isinstance(errors[0], ClosedError), errors
