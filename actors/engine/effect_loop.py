"""The event loop on which after-effects run that are `async def`, on a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..authoring.process_manager import ProcessManager

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["EffectLoop", "run_to_end"]

T = TypeVar("T")


class EffectLoop(threading.Thread):
    """Runs coroutines until it is closed and the last of them has ended.

    Args:
        most: how many run at once; the others wait for these
        begin: called on the thread before anything runs
        end: called on the thread when all is over

    """

    def __init__(self, most: int, begin: Callable[[], None], end: Callable[[], None]) -> None:
        super().__init__(name="procession-effects-loop", daemon=True)
        self._most = most
        self._begin = begin
        self._end = end
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Semaphore(most)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def run(self) -> None:
        """Until it is closed; the thread's own."""
        self._begin()
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        finally:
            self._end()

    async def _main(self) -> None:
        await self._closing.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def submit(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have a coroutine run when there is room; it raises nothing. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._add, make)

    def _add(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(self._run(make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self._room:
            await make()

    def drop(self) -> None:
        """The thread could not be started."""
        self._loop.close()

    def close(self) -> None:
        """Take nothing more, and end with what runs; any thread may call this."""
        # It may have ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._closing.set)

    def cancel(self) -> list[str]:
        """Cancel what still runs. Returns where each of them is, in words."""
        tasks = list(self._tasks)
        places = [_whereabouts(task) for task in tasks]
        # The last of them may have ended just now, and the loop with it.
        with suppress(RuntimeError):
            for task in tasks:
                self._loop.call_soon_threadsafe(task.cancel)
        return places


def _whereabouts(task: asyncio.Task[None]) -> str:
    """In which method a task is, and at which line."""
    where, place = task.get_name(), ""
    inner: Any = task.get_coro()
    while inspect.iscoroutine(inner) and inner.cr_frame is not None:
        frame = inner.cr_frame
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        first = frame.f_locals.get("self")
        if isinstance(first, ProcessManager):
            where = f"{type(first).__name__}.{frame.f_code.co_name} of {first.id!r}"
        inner = inner.cr_await
    return f"{where}, at {place}"


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, for a thread that waits for it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
