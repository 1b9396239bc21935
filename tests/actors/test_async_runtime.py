"""The runtime for coroutines: awaited, cancelled, woken once for each commit, never held up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    AsyncRuntime,
    ClosedError,
    Command,
    Domain,
    Event,
    IdReused,
    InstanceView,
    LockedStore,
    ProcessEnded,
    ProcessManager,
    Rejected,
    Runtime,
    TimedOut,
    WaitingInHandler,
    handle,
    rejected,
)
from procession.engine.event_loops import EventLoops
from procession.store.interrupts import Latch

WAIT = 20

shop = Domain("shop")


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Pay(Command):
    order: str
    amount: int


class Paid(Event):
    order: str
    amount: int


class Close(Command):
    order: str


class Closed(Event):
    order: str


class Gate:
    """What a handler waits for, so that a test says when it goes on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.free = threading.Event()
        self.free.set()


gate = Gate()


@pytest.fixture(autouse=True)
def _new_gate() -> None:
    gate.__init__()  # type: ignore[misc]


@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        gate.entered.set()
        assert gate.free.wait(WAIT)
        return Placed(self.id)

    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        if command.amount < 0:
            raise Rejected("less than nothing")
        return Paid(self.id, command.amount)

    @handle(Close)
    def close(self, command: Close) -> Closed:
        return Closed(self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order"):
    order: str = ""
    status: str = "new"
    paid: int = 0

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.status = "placed"

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        if event.amount == 13:
            raise ValueError("no luck")
        if event.amount == 6:
            gate.entered.set()
            assert gate.free.wait(WAIT)
        self.status = "paid"
        self.paid += event.amount
        if event.amount == 7:
            # It goes through its states within one commit.
            self.issue(Close(self.order))

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None:
        self.status = "closed"

    @rejected(Close)
    def on_refused(self, command: Close, reason: str) -> None: ...


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


@asynccontextmanager
async def blocked(call: Callable[[], Awaitable[Any]]) -> AsyncIterator[asyncio.Task[Any]]:
    """A call whose handler is held up; it goes on behind the block.

    The block is entered by the very loop that the call is awaited in, so that the call cannot hold
    it up.
    """
    gate.free.clear()

    async def made() -> Any:
        return await call()

    task = asyncio.create_task(made())
    while not gate.entered.is_set():
        await asyncio.sleep(0)
    try:
        yield task
    finally:
        gate.free.set()


# Asking


def test_what_is_asked_is_awaited() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            assert await runtime.ask(Place("o1")) == [Placed("o1")]
            with pytest.raises(Rejected, match="less than nothing"):
                await runtime.ask(Pay("o1", -1))
            assert await runtime.ask(Pay("o1", 1), command_id="p", timeout=WAIT) == [Paid("o1", 1)]
            assert await runtime.ask(Pay("o1", 1), command_id="p") == [Paid("o1", 1)]
            with pytest.raises(IdReused):
                await runtime.ask(Pay("o1", 2), command_id="p")

    run(main())


def test_other_coroutines_go_on_while_one_asks() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            async with blocked(lambda: runtime.ask(Place("o1"))) as asking:
                pass
            assert await asking == [Placed("o1")]

    run(main())


def test_other_coroutines_go_on_while_one_awaits_a_future_of_a_plain_runtime() -> None:
    async def main() -> None:
        with Runtime.ephemeral(shop) as runtime:
            async with blocked(lambda: runtime.ask(Place("o1"), block=False)) as asking:
                pass
            assert await asking == [Placed("o1")]

    run(main())


def test_other_coroutines_go_on_while_one_awaits_what_is_made_of_a_future() -> None:
    async def main() -> None:
        with Runtime.ephemeral(shop) as runtime:
            async with blocked(lambda: runtime.ask(Place("o1"), block=False).map(len)) as asking:
                pass
            assert await asking == 1

    run(main())


def test_a_future_that_has_its_answer_is_awaited_as_often_as_one_likes() -> None:
    async def main() -> None:
        with Runtime.ephemeral(shop) as runtime:
            future = runtime.ask(Pay("o1", -1), block=False)
            for _ in range(2):
                with pytest.raises(Rejected):
                    await future
            futures = [runtime.ask(Pay("o1", n), block=False) for n in range(3)]
            assert await asyncio.gather(*futures) == [[Paid("o1", n)] for n in range(3)]

    run(main())


def test_wait_for_ends_the_waiting_and_not_the_command() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            async with blocked(lambda: asyncio.wait_for(runtime.ask(Place("o1")), 0.001)) as asking:
                with pytest.raises(TimeoutError):
                    await asking
            await runtime.settle(WAIT)
            assert [stored.event async for stored in runtime.events()] == [Placed("o1")]

    run(main())


def test_a_timeout_says_what_may_still_happen() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            async with blocked(lambda: runtime.ask(Place("o1"), timeout=0.001)) as asking:
                with pytest.raises(TimedOut, match="it may still be carried out"):
                    await asking
            with pytest.raises(ValueError, match="timeout=-1"):
                await runtime.ask(Place("o2"), timeout=-1)

    run(main())


def test_one_who_is_cancelled_takes_no_other_along() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            async with blocked(lambda: runtime.ask(Place("o1"))) as first:
                others = [asyncio.create_task(runtime.ask(Place(f"o{n}"))) for n in range(2, 9)]
                await asyncio.sleep(0)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
            assert await asyncio.gather(*others) == [[Placed(f"o{n}")] for n in range(2, 9)]

    run(main())


def test_those_who_wait_are_told_when_the_runtime_is_closed() -> None:
    async def main() -> None:
        runtime = await AsyncRuntime.ephemeral(shop).open()
        async with blocked(lambda: runtime.ask(Place("o1"))) as asking:
            waiting = asyncio.create_task(runtime.wait(Fulfilment, "o1"))
            settling = asyncio.create_task(runtime.settle())
            await runtime.tell(Pay("o2", 1))
            await runtime.close(timeout=0)
            for task in (asking, waiting, settling):
                with pytest.raises(ClosedError):
                    await task
        with pytest.raises(ClosedError, match="not open, or was closed"):
            await runtime.ask(Place("o1"))
        with pytest.raises(ClosedError):
            await runtime.open()
        await runtime.close()

    run(main())


def test_an_event_loop_that_is_gone_stops_no_commit() -> None:
    async def ask(runtime: AsyncRuntime) -> None:
        async with blocked(lambda: runtime.ask(Place("o1"))) as asking:
            asking.cancel()
            gate.free.set = lambda: None  # type: ignore[method-assign]

    with Runtime.ephemeral(shop) as runtime:
        run(ask(AsyncRuntime.over(runtime)))
        threading.Event.set(gate.free)
        runtime.settle(WAIT)
        assert runtime.ask(Pay("o1", 1), timeout=WAIT) == [Paid("o1", 1)]


# One wake-up


def test_a_loop_is_woken_once_for_all_that_comes_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Callable[[], None]] = []
    woken = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def count(*arguments: Any, **options: Any) -> Any:
            woken.append(arguments)
            return wake(*arguments, **options)

        monkeypatch.setattr(loop, "call_soon_threadsafe", count)
        loops = EventLoops(calls.append)
        latches = [Latch() for _ in range(5)]
        waiting = [asyncio.create_task(loops.opened(latch)) for latch in latches]
        await asyncio.sleep(0)
        for latch in latches[:4]:
            latch.open()
        [call] = calls
        assert woken == []
        call()
        assert await asyncio.gather(*waiting[:4]) == [True] * 4
        assert len(woken) == 1
        assert not waiting[4].done()
        latches[4].open()
        calls[1]()
        assert await waiting[4]
        assert await loops.opened(Latch(), 0) is False

    run(main())


def test_a_loop_is_woken_at_most_once_for_each_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    woken = []

    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            loop = asyncio.get_running_loop()
            wake = loop.call_soon_threadsafe

            def count(*arguments: Any, **options: Any) -> Any:
                woken.append(arguments)
                return wake(*arguments, **options)

            before = runtime._opened.stats()["commits"]
            monkeypatch.setattr(loop, "call_soon_threadsafe", count)
            await asyncio.gather(*(runtime.ask(Pay(f"o{n}", n)) for n in range(500)))
            assert 1 <= len(woken) <= runtime._opened.stats()["commits"] - before
            monkeypatch.undo()

    run(main())


# Writing


def test_what_is_told_and_published_is_awaited() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            assert await runtime.tell(Place("o1"), command_id="c1") == "c1"
            with pytest.raises(IdReused):
                await runtime.tell(Place("o2"), command_id="c1")
            assert await runtime.tell_many([Place("o3")], command_id=lambda one: one.order) == [
                "o3"
            ]
            await runtime.settle(WAIT)
            assert await runtime.publish(Paid("o1", 1), stream="bank-1", event_id="e1") == 3
            with pytest.raises(IdReused):
                await runtime.publish(Paid("o1", 2), stream="bank-1", event_id="e1")
            assert await runtime.publish_many([Paid("o1", 1)] * 2, stream="bank-1") == [4, 5]
            await runtime.settle(WAIT)
            order = await runtime.get(Fulfilment, "o1")
            assert order is not None
            assert order.state["paid"] == 3

    run(main())


def test_settling_gives_up_in_time() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            async with blocked(lambda: runtime.ask(Place("o1"))) as asking:
                with pytest.raises(TimedOut, match=r"not settled within 0\.001 seconds"):
                    await runtime.settle(0.001)
                settling = asyncio.create_task(runtime.settle())
                await asyncio.sleep(0)
                assert not settling.done()
            await settling
            assert asking.done()

    run(main())


# Looking


def test_listings_are_gone_through_page_by_page() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            await runtime.publish_many([Placed(f"o{n}") for n in range(600)], stream="web-1")
            await runtime.settle(WAIT)
            positions = [stored.position async for stored in runtime.events()]
            assert positions == list(range(1, 601))
            found = [view.id async for view in runtime.find(Fulfilment, status="placed")]
            assert found == [f"o{n}" for n in range(600)]
            assert [one.handler async for one in runtime.history(Fulfilment, "o1")] == ["on_placed"]
            assert [one async for one in runtime.timeouts()] == []
            assert [one async for one in runtime.stuck(Fulfilment, timedelta(days=1))] == []
            with pytest.raises(TypeError, match="no field 'colour'"):
                runtime.find(Fulfilment, colour="red")

    run(main())


def test_a_listing_loses_nothing_to_one_who_is_cancelled_and_doubles_nothing_for_two() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            await runtime.publish_many([Placed(f"o{n}") for n in range(600)], stream="web-1")
            listing = runtime.events()

            async def read() -> list[int]:
                return [stored.position async for stored in listing]

            first = asyncio.ensure_future(listing.__anext__())
            await asyncio.sleep(0)
            first.cancel()
            both = await asyncio.gather(read(), read())
            assert sorted(both[0] + both[1]) == list(range(1, 601))

    run(main())


def test_what_an_operator_does_is_awaited(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            await runtime.ask(Place("o1"))
            await runtime.ask(Pay("o1", 13))
            await runtime.ask(Place("o2"))
            await runtime.ask(Pay("o2", 13))
            await runtime.settle(WAIT)
            [first, second] = [one.id async for one in runtime.parked()]
            await runtime.skip(first, by="ann")
            await runtime.retry(second)
            await runtime.settle(WAIT)
            assert [one.decided_by async for one in runtime.parked(decided=True)] == ["ann", None]
            assert await runtime.cancel_timeout(Fulfilment, "o1", "late") is False
            assert await runtime.move_timeout(Fulfilment, "o1", "late", timedelta(1)) is False
            assert await runtime.refresh(Fulfilment, by="ann") == 2
            assert (await runtime.rebuild(Fulfilment, by="bea")).rebuilt == 2
            [root] = [stored async for stored in runtime.events("shop::order-o1", after=0)][:1]
            assert (await runtime.why(root.event_id))[0].process == "shop.Fulfilment"
            assert (await runtime.trace(root.event_id)).children
            assert (await runtime.stats())["parked"] == 3
            assert (await runtime.health()).problems
            assert await runtime.verify() == []
            await runtime.backup(tmp_path / "copy")
            assert (await runtime.counts(Fulfilment))["shop.Fulfilment"].instances == 2
            assert await runtime.amend(Fulfilment, "o1", paid=3, by="ann") > 1
            ended = await runtime.end(Fulfilment, "o2", reason="nothing helps", by="ann")
            assert (await runtime.wait(Fulfilment, "o2")).version == ended
            assert runtime.ref(Order, "o1").is_alive()
            assert runtime.clock.now() is not None
        with Runtime(tmp_path / "copy", shop, read_only=True) as copy:
            assert copy.get(Order, "o1") is not None

    run(main())


# Waiting for a process


def test_a_process_is_waited_for_until_it_has_ended() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            # It has not started yet.
            waiting = asyncio.create_task(runtime.wait(Fulfilment, "o1", timeout=WAIT))
            await runtime.ask(Place("o1"))
            await runtime.settle(WAIT)
            assert not waiting.done()
            await runtime.ask(Pay("o1", 7))
            assert (await waiting).state["status"] == "closed"
            again = await runtime.wait(Fulfilment, "o1")
            assert again.is_complete

    run(main())


def test_a_thread_waits_for_a_process_as_a_coroutine_does() -> None:
    with Runtime.ephemeral(shop) as runtime:
        runtime.tell_many([Place("o1"), Pay("o1", 7)])
        assert runtime.wait(Fulfilment, "o1", timeout=WAIT).state["status"] == "closed"


def test_no_state_is_missed_that_a_commit_passes_through(tmp_path: Path) -> None:
    """The chain runs to its end in memory; on disk there is never an order that is paid alone."""
    with Runtime(tmp_path, shop) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(WAIT)
        found = []
        looking = threading.Event()

        def is_paid(view: InstanceView) -> bool:
            looking.set()
            return bool(view.state["status"] == "paid")

        waiting = threading.Thread(
            target=lambda: found.append(runtime.wait(Fulfilment, "o1", until=is_paid, timeout=WAIT))
        )
        waiting.start()
        assert looking.wait(WAIT)
        runtime.ask(Pay("o1", 7))
        waiting.join()
        [view] = found
        assert (view.version, view.state["status"], view.is_complete) == (2, "paid", False)


def test_a_step_is_not_missed_that_was_on_its_way_to_disk_when_the_wait_began() -> None:
    with Runtime.ephemeral(shop, workers=1) as runtime:
        runtime.tell_many([Place("o1"), Place("o2")])
        runtime.settle(WAIT)
        gate.entered.clear()
        gate.free.clear()
        # The one worker is held up with a step in its hand that is not committed.
        events = [Paid("o1", 5), Paid("o2", 6)]
        publishing = threading.Thread(
            target=lambda: runtime.publish_many(events, stream="bank-1"),
        )
        publishing.start()
        assert gate.entered.wait(WAIT)
        seen: list[int] = []

        def is_paid(view: InstanceView) -> bool:
            seen.append(view.state["paid"])
            gate.free.set()
            return seen[-1] == 5

        assert runtime.wait(Fulfilment, "o1", until=is_paid, timeout=WAIT).version == 2
        assert seen == [0, 5]
        publishing.join()


def test_who_waits_for_what_never_was_hears_that_the_process_has_ended() -> None:
    with Runtime.ephemeral(shop) as runtime:
        runtime.tell_many([Place("o1"), Pay("o1", 7)])
        runtime.settle(WAIT)
        with pytest.raises(
            ProcessEnded, match=r"'o1' of shop\.Fulfilment has ended, at version 3"
        ) as e:
            runtime.wait(Fulfilment, "o1", until=lambda view: view.state["paid"] > 100)
        assert e.value.state["status"] == "closed"


def test_a_process_that_may_start_anew_is_waited_for_though_it_has_ended() -> None:
    again = Domain("again")
    again.register(Placed, Closed)

    @again.register
    class Visit(ProcessManager, correlate="order", restart=True):
        order: str = ""
        visits: int = 0

        @handle(Placed, start=True)
        def come(self, event: Placed) -> None:
            self.visits += 1

        @handle(Closed, end=True)
        def go(self, event: Closed) -> None: ...

    async def main() -> None:
        async with AsyncRuntime.ephemeral(again) as runtime:
            await runtime.publish_many([Placed("o1"), Closed("o1")], stream="door-1")
            await runtime.settle(WAIT)
            waiting = asyncio.create_task(
                runtime.wait(Visit, "o1", until=lambda view: not view.is_complete)
            )
            await runtime.publish(Placed("o1"), stream="door-1")
            assert (await waiting).status == "running"

    run(main())


def test_a_wait_that_is_too_long_says_how_the_process_is() -> None:
    with Runtime.ephemeral(shop) as runtime:
        with pytest.raises(TimedOut, match="nothing has happened to it"):
            runtime.wait(Fulfilment, "o1", timeout=0)
        runtime.tell_many([Place("o1"), Pay("o1", 13)])
        runtime.settle(WAIT)
        with pytest.raises(TimedOut, match=r"suspended, at version 1, and parked\(\) says why"):
            runtime.wait(Fulfilment, "o1", timeout=0)

        async def main() -> None:
            with pytest.raises(TimedOut, match="was not as `until` says within 0 seconds"):
                await AsyncRuntime.over(runtime).wait(
                    Fulfilment, "o1", until=lambda view: view.version > 1, timeout=0
                )

        run(main())


def test_what_waits_for_a_process_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            engine = runtime._opened._engine("test")
            waiting = asyncio.create_task(runtime.wait(Fulfilment, "o1"))
            while not engine.services.watches.by_instance:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            del waiting
            while engine.services.watches.by_instance:
                await asyncio.sleep(0)
            assert len(engine.services.replies) == 0

    run(main())


def test_a_wait_is_refused_where_it_would_wait_for_itself_and_with_what_is_no_function() -> None:
    waits = Domain("waits")
    waits.register(Placed)
    errors: list[BaseException] = []

    @waits.register
    class Waits(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            try:
                runtime.wait(Waits, "o1")
            except WaitingInHandler as error:
                errors.append(error)

    with Runtime.ephemeral(waits) as runtime:
        runtime.publish(Placed("o1"), stream="web-1")
        runtime.settle(WAIT)
        assert len(errors) == 1
        with pytest.raises(TypeError, match="give a function of a view"):
            runtime.wait(Waits, "o1", until=True)  # type: ignore[arg-type]


# Opening and closing


def test_a_runtime_that_is_open_gets_a_face_for_coroutines_and_stays_open_behind_it() -> None:
    with Runtime.ephemeral(shop) as runtime:

        async def main() -> None:
            async with AsyncRuntime.over(runtime) as face:
                assert await face.ask(Place("o1")) == [Placed("o1")]
            with pytest.raises(ClosedError):
                await face.ask(Place("o1"))

        run(main())
        assert runtime.ask(Pay("o1", 1)) == [Paid("o1", 1)]


def test_one_face_serves_several_event_loops_at_once() -> None:
    with Runtime.ephemeral(shop) as runtime:
        face = AsyncRuntime.over(runtime)
        found: list[Any] = []

        async def main(name: str) -> None:
            found.append(
                await asyncio.gather(*(face.ask(Pay(f"{name}{n}", n)) for n in range(100)))
            )

        loops = [threading.Thread(target=lambda one=one: run(main(one))) for one in "ab"]
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join()
        assert [len(one) for one in found] == [100, 100]


def test_the_second_to_open_a_store_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncRuntime(tmp_path, shop):
            second = AsyncRuntime(tmp_path, shop)
            with pytest.raises(LockedStore):
                await second.open()
        async with second:
            assert await second.ask(Place("o1")) == [Placed("o1")]

    run(main())


def test_an_opening_that_is_cancelled_lets_go_of_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        runtime = AsyncRuntime(tmp_path, shop)
        opening = asyncio.create_task(runtime.open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        runtime._door.shutdown()
        async with AsyncRuntime(tmp_path, shop) as other:
            assert await other.ask(Place("o1")) == [Placed("o1")]

    run(main())


def test_a_runtime_that_is_not_open_says_how_to_open_it(tmp_path: Path) -> None:
    async def main() -> None:
        runtime = AsyncRuntime(tmp_path, shop)
        with pytest.raises(ClosedError, match="async with"):
            await runtime.ask(Place("o1"))

    run(main())


# Other event loops


def test_it_works_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            asked = [runtime.ask(Pay(f"o{n}", n), timeout=WAIT) for n in range(50)]
            assert len(await asyncio.gather(*asked)) == 50
            await runtime.settle(WAIT)
            assert len([one async for one in runtime.events()]) == 50
            await runtime.ask(Place("o51"))
            await runtime.ask(Pay("o51", 7))
            await runtime.wait(Fulfilment, "o51", timeout=WAIT)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_it_works_under_anyio_whose_scopes_cancel_what_waits() -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async with AsyncRuntime.ephemeral(shop) as runtime:
            async with anyio.create_task_group() as group:
                for n in range(50):
                    group.start_soon(runtime.ask, Pay(f"o{n}", n))
            async with blocked(lambda: runtime.ask(Place("o51"))):
                with anyio.move_on_after(0.001) as scope:
                    await runtime.wait(Fulfilment, "o51")
                assert scope.cancelled_caught
            await runtime.settle(WAIT)
            assert len([one async for one in runtime.events()]) == 51

    anyio.run(main, backend="asyncio")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_works_under_uvicorn(loop: str, tmp_path: Path) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    answers: list[bytes] = []
    refused: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            try:
                app.runtime = await AsyncRuntime(tmp_path, shop).open()  # type: ignore[attr-defined]
            except LockedStore as error:
                refused.append(str(error))
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await app.runtime.close()  # type: ignore[attr-defined]
            await send({"type": "lifespan.shutdown.complete"})
            return
        [placed] = await app.runtime.ask(Place(scope["path"][1:]))  # type: ignore[attr-defined]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": placed.order.encode()})

    def server() -> Any:
        config = uvicorn.Config(app, port=0, loop=loop, log_level="critical", lifespan="on")
        return uvicorn.Server(config)

    async def request(port: int, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.rpartition(b"\r\n")[0]

    async def main() -> None:
        first, second = server(), server()
        serving = asyncio.create_task(first._serve())
        while not first.started:
            await asyncio.sleep(0)
        port = first.servers[0].sockets[0].getsockname()[1]
        answers.extend(await asyncio.gather(*(request(port, f"/o{n}") for n in range(20))))
        # As the second worker would, which is a process of its own.
        with pytest.raises(SystemExit):
            await second._serve()
        first.should_exit = True
        await serving

    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert len(answers) == 20
    assert all(b"200 OK" in one for one in answers)
    assert len(refused) == 1
    assert "open for writing" in refused[0]
