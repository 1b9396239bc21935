"""After-effects that are `async def`: on an event loop of the runtime's own."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    AsyncRuntime,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Retry,
    Runtime,
    WaitingInHandler,
    after,
    handle,
)
from procession.engine.effect_loop import EffectLoop
from procession.store import NoThread
from procession.store.interrupts import start_thread
from procession.testing import Simulation, VirtualClock

WAIT = 20


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Note(Command):
    order: str


class Noted(Event):
    order: str


Hook = Callable[[Any, Placed], Awaitable[None]]


async def nothing(process: Any, event: Placed) -> None: ...


class Hooks:
    effect: Hook = staticmethod(nothing)
    plain: Callable[[Any, Noted], None] = staticmethod(lambda process, event: None)


@pytest.fixture(autouse=True)
def _hooks() -> Iterator[None]:
    yield
    Hooks.effect = nothing
    Hooks.plain = lambda process, event: None


shop = Domain("shop")


@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id)

    @handle(Note)
    def note(self, command: Note) -> Noted:
        return Noted(self.id)


@shop.register
class Fulfilment(
    ProcessManager, correlate="order", retry=Retry(attempts=2, first=timedelta(minutes=1))
):
    order: str = ""
    noted: int = 0

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None: ...

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        self.noted += 1

    @after(Placed)
    async def write(self, event: Placed) -> None:
        await Hooks.effect(self, event)

    @after(Noted)
    def write_plain(self, event: Noted) -> None:
        Hooks.plain(self, event)


def test_it_is_awaited_on_a_loop_of_the_runtimes_own_and_what_it_issues_leaves() -> None:
    seen: list[Any] = []

    async def effect(process: Any, event: Placed) -> None:
        await asyncio.sleep(0)
        seen.append((threading.current_thread().name, process.context.type, process.id))
        process.issue(Note(process.order))

    Hooks.effect = effect
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(WAIT)
        assert seen == [("procession-effects-loop", "shop.Placed.v1", "o1")]
        view = runtime.get(Fulfilment, "o1")
        assert view is not None
        assert view.state["noted"] == 1
        assert runtime.stats()["effects"] == 2


def test_many_run_at_once_and_need_no_threads() -> None:
    inside: list[str] = []

    async def effect(process: Any, event: Placed) -> None:
        inside.append(process.id)
        while len(inside) < 40:
            await asyncio.sleep(0)

    Hooks.effect = effect
    with Runtime.ephemeral(shop, effect_threads=1) as runtime:
        runtime.tell_many([Place(f"o{n}") for n in range(40)])
        runtime.settle(WAIT)
        assert len(inside) == 40


def test_no_more_run_at_once_than_may() -> None:
    inside, most = [0], [0]

    async def effect(process: Any, event: Placed) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        for _ in range(3):
            await asyncio.sleep(0)
        inside[0] -= 1

    Hooks.effect = effect
    with Runtime.ephemeral(shop, effect_tasks=3) as runtime:
        runtime.tell_many([Place(f"o{n}") for n in range(40)])
        runtime.settle(WAIT)
        assert runtime.stats()["effects"] == 40
        assert most == [3]
    with pytest.raises(ValueError, match="effect_tasks=0"):
        Runtime.ephemeral(shop, effect_tasks=0)


def test_those_of_one_instance_run_in_order_whichever_way_they_are_written() -> None:
    seen: list[str] = []
    free = threading.Event()

    async def effect(process: Any, event: Placed) -> None:
        while not free.is_set():
            await asyncio.sleep(0)
        seen.append("placed")

    Hooks.effect = effect
    Hooks.plain = lambda process, event: seen.append("noted")
    with Runtime.ephemeral(shop) as runtime:
        for command in (Place("o1"), Note("o1"), Place("o1"), Note("o1"), Note("o1")):
            runtime.ask(command)
        free.set()
        runtime.settle(WAIT)
        assert seen == ["placed", "noted", "placed", "noted", "noted"]


def test_one_that_fails_is_tried_again_and_then_parked(clock: VirtualClock) -> None:
    attempts: list[int] = []

    async def effect(process: Any, event: Placed) -> None:
        await asyncio.sleep(0)
        attempts.append(process.context.attempt)
        if len(attempts) < 3:
            raise ConnectionError("no post")

    Hooks.effect = effect
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(WAIT)
        clock.advance(timedelta(hours=1))
        runtime.settle(WAIT)
        [parked] = runtime.parked()
        assert "no post" in parked.error
        runtime.retry(parked.id)
        runtime.settle(WAIT)
        assert attempts == [1, 2, 3]
        assert list(runtime.parked()) == []


def test_a_face_for_coroutines_is_used_from_within() -> None:
    found: list[Any] = []
    refused: list[str] = []

    async def effect(process: Any, event: Placed) -> None:
        face = AsyncRuntime.over(runtime)
        found.append(await face.ask(Note(process.id)))
        found.append(await runtime.ask(Note(process.id), block=False))
        for call in (face.settle, face.close):
            try:
                await call()
            except WaitingInHandler as error:
                refused.append(str(error))

    Hooks.effect = effect
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(WAIT)
        assert found == [[Noted("o1")], [Noted("o1")]]
        assert [text.partition("(")[0] for text in refused] == ["settle", "close"]


def test_closing_waits_for_those_that_run() -> None:
    entered, free = threading.Event(), threading.Event()
    done: list[str] = []

    async def effect(process: Any, event: Placed) -> None:
        entered.set()
        while not free.is_set():
            await asyncio.sleep(0)
        done.append(process.id)

    Hooks.effect = effect
    runtime = Runtime.ephemeral(shop)
    runtime.ask(Place("o1"))
    assert entered.wait(WAIT)
    closing = threading.Thread(target=runtime.close)
    closing.start()
    free.set()
    closing.join()
    assert done == ["o1"]


def test_one_that_does_not_end_is_cancelled_named_in_the_log_and_runs_in_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entered = threading.Event()
    ended: list[str] = []
    is_first = {True}

    async def effect(process: Any, event: Placed) -> None:
        if is_first:
            is_first.clear()
            entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
        ended.append(process.id)

    Hooks.effect = effect
    runtime = Runtime(tmp_path, shop)
    runtime.ask(Place("o1"))
    assert entered.wait(WAIT)
    loop = runtime._engine("test").effects._loop
    assert loop is not None
    runtime.close(timeout=0)
    loop.join(WAIT)
    with runtime._closing:
        """Closing goes on in a thread of its own."""
    assert ended == ["cancelled"]
    assert "Fulfilment.write of 'o1', at " in caplog.text
    with Runtime(tmp_path, shop) as runtime:
        runtime.settle(WAIT)
        assert list(runtime.parked()) == []
    assert ended == ["cancelled", "o1"]


def test_those_that_have_not_begun_when_it_is_closed_are_for_the_next_run(tmp_path: Path) -> None:
    entered, free = threading.Event(), threading.Event()
    done: list[str] = []

    async def effect(process: Any, event: Placed) -> None:
        entered.set()
        while not free.is_set():
            await asyncio.sleep(0)
        done.append(process.id)

    Hooks.effect = effect
    runtime = Runtime(tmp_path, shop, effect_tasks=1)
    runtime.tell_many([Place("o1"), Place("o2")])
    assert entered.wait(WAIT)
    engine = runtime._engine("test")
    closing = threading.Thread(target=runtime.close)
    closing.start()
    while not engine.effects.is_closed:
        threading.Event().wait(0.001)
    free.set()
    closing.join()
    assert len(done) == 1
    with Runtime(tmp_path, shop) as runtime:
        runtime.settle(WAIT)
    assert sorted(done) == ["o1", "o2"]


def test_where_no_thread_can_be_started_for_the_loop_they_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        if isinstance(thread, EffectLoop):
            raise NoThread("no more threads")
        start_thread(thread)

    monkeypatch.setattr("procession.engine.effect_executor.start_thread", refuse)
    done: list[str] = []

    async def effect(process: Any, event: Placed) -> None:
        await asyncio.sleep(0)
        done.append(process.id)

    Hooks.effect = effect
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(WAIT)
    assert done == ["o1"]
    assert "share no event loop" in caplog.text


def test_a_simulation_runs_them_also_where_a_loop_runs() -> None:
    done: list[str] = []

    async def effect(process: Any, event: Placed) -> None:
        await asyncio.sleep(0)
        done.append(process.id)

    Hooks.effect = effect

    def simulate() -> None:
        with Simulation(shop) as simulation:
            simulation.ask(Place("o1"))
            simulation.settle()

    async def main() -> None:
        simulate()

    simulate()
    asyncio.run(main())
    assert done == ["o1", "o1"]


def test_a_decorator_may_await_it() -> None:
    done: list[str] = []

    def to_the_end(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> None:
            # Of a loop that runs on this thread already.
            thread = threading.Thread(target=lambda: asyncio.run(function(*arguments)))
            thread.start()
            thread.join()

        return call

    post = Domain("post")
    post.register(Placed)

    @post.register
    class Letters(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Placed, start=True, end=True)
        def on_placed(self, event: Placed) -> None: ...

        @after(Placed)
        @to_the_end
        async def write(self, event: Placed) -> None:
            done.append(event.order)

    assert list(post.check()) == []
    with Runtime.ephemeral(post) as runtime:
        runtime.publish(Placed("o1"), stream="web-1")
        runtime.settle(WAIT)
    assert done == ["o1"]


def test_one_that_yields_is_refused_when_it_is_registered() -> None:
    post = Domain("post")

    class Letters(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

        @after(Placed)
        async def write(self, event: Placed) -> AsyncIterator[None]:
            yield

    with pytest.raises(DefinitionError, match=r"Letters.write is `async def` with a `yield`"):
        post.register(Letters)
