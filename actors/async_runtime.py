"""The runtime for coroutines: the same names, awaited, and no event loop is held up."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from .clock import seconds
from .engine.pending_replies import PendingReplies
from .queries.log_end import text_of
from .runtime import CLOSE_TIMEOUT, Runtime, no_reply, raise_reused, seconds_of
from .store import ClosedError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime, timedelta
    from typing import Literal

    import pykka

    from .authoring.aggregate import Aggregate
    from .authoring.process_manager import ProcessManager
    from .authoring.projection import Projection
    from .engine.archive import Archive
    from .engine.health import Health
    from .engine.projection_rebuild import ProjectionProgress
    from .engine.pruning import PruningReport
    from .engine.rebuilding import RebuildProgress
    from .messages.reply import Reply
    from .messages.types import Command, Event
    from .model.domain import Domain
    from .queries.diagnostics import Explanation, StuckInstance
    from .queries.documents import DocumentReader
    from .queries.follower import Follower
    from .queries.log_end import Place
    from .queries.trace import TraceNode
    from .queries.views import (
        AggregateView,
        Counts,
        Erasure,
        InstanceTransition,
        InstanceView,
        Moment,
        Parked,
        StoredEvent,
        Timeout,
        Transition,
    )
    from .store import StorageEngine, StoreFinding

__all__ = ["AsyncDocuments", "AsyncFollower", "AsyncRuntime", "Listing"]

THREADS = 16
"""Most calls of one `AsyncRuntime` that are on threads at once; those that only wait need none."""

PAGE = 256
"""What a listing reads at a time, at most."""

PATIENCE = 0.05
"""Seconds after which it gives what it has found, if anything."""

A = TypeVar("A", bound="Aggregate")
P = TypeVar("P", bound="ProcessManager")
T = TypeVar("T")
R = TypeVar("R")
C = TypeVar("C", bound="Command")
E = TypeVar("E", bound="Event")


class AsyncRuntime:
    """A `Runtime` whose calls are awaited.

    What waits for the disk or for a process waits in its event loop, which is woken once for all
    that one commit brings; what reads the store, or takes long, has a thread. A call that is
    cancelled is not undone: as after `TimedOut`, what it was to bring about may come about.

    An async context manager, which opens the runtime and closes it:
    ``async with AsyncRuntime("var/shop", shop) as runtime``. It may be used from several event
    loops at once, those of asyncio and what stands in for them (uvloop, anyio on asyncio).

    Args:
        path: as for `Runtime`
        domains: whose classes to run
        options: as for `Runtime`

    """

    def __init__(
        self, path: str | os.PathLike[str] | StorageEngine, *domains: Domain, **options: Any
    ) -> None:
        self._begin(partial(Runtime, path, *domains, **options))

    def _begin(self, make: Callable[[], Runtime] | None, runtime: Runtime | None = None) -> None:
        self._make = make
        self._is_mine = make is not None
        self._runtime = runtime
        self._threads = ThreadPoolExecutor(THREADS, "procession-asyncio")
        # One of its own, so that closing waits for none of those that wait for the runtime.
        self._door = ThreadPoolExecutor(1, "procession-asyncio-door")

    @classmethod
    def over(cls, runtime: Runtime) -> Self:
        """The face for coroutines of a runtime that is open, and has others.

        A store has one writer. Leaving an ``async with`` block does not close the runtime, whose
        owner does.

        Args:
            runtime: what it stands before

        """
        made = cls.__new__(cls)
        made._begin(None, runtime)
        return made

    @classmethod
    def ephemeral(cls, *domains: Domain, **options: Any) -> Self:
        """One in a temporary folder, as `Runtime.ephemeral`."""
        made = cls.__new__(cls)
        made._begin(partial(Runtime.ephemeral, *domains, **options))
        return made

    async def open(self) -> Self:
        """Open it, where no ``async with`` block does; does nothing if it is open.

        Raises:
            ProcessionError: as for `Runtime`
            ClosedError: it was closed

        """
        if self._runtime is None:
            if self._make is None:
                raise ClosedError("the runtime was closed; make another AsyncRuntime to open it")
            make, self._make = self._make, None
            opening = self._door.submit(make)
            try:
                self._runtime = await asyncio.wrap_future(opening)
            except asyncio.CancelledError:
                # The thread opens it all the same, and then closes it.
                self._door.submit(_close_opened, opening)
                raise
            except BaseException:
                self._make = make
                raise
        return self

    def __repr__(self) -> str:
        return f"<AsyncRuntime over {self._runtime or 'nothing that is open'}>"

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        if self._is_mine:
            await self.close()
        else:
            self._leave()

    async def close(self, *, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """As `Runtime.close`. What waits meanwhile is told; a cancelled `close` goes on closing.

        Raises:
            WaitingInHandler: called from an after-effect

        """
        runtime, self._make = self._runtime, None
        if runtime is not None:
            runtime._refuse_closing_inside()
            await asyncio.wrap_future(self._door.submit(partial(runtime.close, timeout=timeout)))
            self._leave()

    def _leave(self) -> None:
        self._make = self._runtime = None
        self._threads.shutdown(wait=False)
        self._door.shutdown(wait=False)

    @property
    def clock(self) -> Any:
        """As `Runtime.clock`."""
        return self._opened.clock

    @property
    def _opened(self) -> Runtime:
        if self._runtime is None:
            raise ClosedError(
                "the runtime is not open, or was closed: use it within "
                "`async with AsyncRuntime(...) as runtime`, or after `await runtime.open()`"
            )
        return self._runtime

    async def _apart(self, call: Callable[..., T], /, *arguments: Any, **options: Any) -> T:
        """Make a call that reads the store, or takes long, on a thread."""
        # What waited while it was closed finds no threads any more.
        self._opened._refuse_closed()
        context = contextvars.copy_context()
        call = partial(context.run, call, *arguments, **options)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # Asking for something

    async def ask(
        self,
        command: Command[R],
        *,
        timeout: float | None = None,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Reply[R]:
        """As `Runtime.ask`.

        Raises:
            Rejected: the aggregate refused
            TimedOut: time ran out; the command may still be carried out

        """
        timeout = seconds_of("ask", timeout)
        reply = self._opened._asking(command, command_id, headers)
        if timeout is None:
            await reply.awaited()
        elif not await reply.answered(timeout):
            raise no_reply(command, timeout)
        answer: Reply[R] = reply.get()
        return answer

    async def tell(
        self,
        command: Command,
        *,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """As `Runtime.tell`."""
        receipts, told = self._opened._telling(command, command_id, headers)
        await receipts.waited()
        raise_reused(receipts)
        return told

    async def tell_many(
        self,
        commands: Iterable[C],
        *,
        command_id: Callable[[C], str | None] | None = None,
        headers: Mapping[str, Any] | Callable[[C], Mapping[str, Any] | None] | None = None,
    ) -> list[str]:
        """As `Runtime.tell_many`; the commands are gone through on a thread."""
        call = self._opened.tell_many
        return await self._apart(call, commands, command_id=command_id, headers=headers)

    async def publish(
        self,
        event: Event,
        *,
        stream: str,
        event_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        as_import: bool = False,
    ) -> int:
        """As `Runtime.publish`."""
        receipts, work = self._opened._publishing(
            event, stream, event_id, headers, as_import=as_import
        )
        await receipts.waited()
        raise_reused(receipts)
        return work.position

    async def publish_many(
        self,
        events: Iterable[E],
        *,
        stream: str | Callable[[E], str],
        event_id: Callable[[E], str | None] | None = None,
        headers: Mapping[str, Any] | Callable[[E], Mapping[str, Any] | None] | None = None,
        as_import: bool = False,
    ) -> list[int]:
        """As `Runtime.publish_many`; the events are gone through on a thread."""
        return await self._apart(
            self._opened.publish_many,
            events,
            stream=stream,
            event_id=event_id,
            headers=headers,
            as_import=as_import,
        )

    async def settle(self, timeout: float | None = None) -> None:
        """As `Runtime.settle`."""
        await self._opened._settled_in_loop(timeout)

    async def wait(
        self,
        cls: type[P],
        id: object,
        *,
        until: Callable[[InstanceView[P]], object] | None = None,
        timeout: float | None = None,
    ) -> InstanceView[P]:
        """As `Runtime.wait`; `until` is called on a thread."""
        waiting, timeout = self._opened._waiting(cls, id, until, timeout)
        loops = waiting.loops
        end = None if timeout is None else seconds() + timeout
        looks = waiting.looks()
        while (latch := await self._apart(next, looks, None)) is not None:
            if not await loops.opened(latch, None if end is None else end - seconds()):
                raise waiting.too_late(timeout)
        assert waiting.view is not None
        return waiting.view

    async def read(
        self,
        cls: type[Projection],
        *,
        after: int | Mapping[int, int] | None = None,
        stream: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """As `Runtime.read`."""
        return await self._opened._read_in_loop(cls, after, stream, timeout)

    # Looking

    @overload
    async def get(self, cls: type[P], id: object) -> InstanceView[P] | None: ...

    @overload
    async def get(self, cls: type[A], id: object) -> AggregateView[A] | None: ...

    async def get(
        self, cls: type[ProcessManager | Aggregate], id: object
    ) -> InstanceView | AggregateView | None:
        """As `Runtime.get`."""
        return await self._apart(self._opened.get, cls, id)

    def documents(self, cls: type[Projection]) -> AsyncDocuments[Any]:
        """As `Runtime.documents`; its `get` is awaited, and `items` is for ``async for``."""
        return AsyncDocuments(self, self._opened.documents(cls))

    def ref(self, cls: type[ProcessManager | Aggregate], id: object = None) -> pykka.ActorRef[Any]:
        """As `Runtime.ref`, at once; what its `ask(..., block=False)` returns can be awaited."""
        return self._opened.ref(cls, id)

    async def at(self, cls: type[P], id: object, version: int) -> Moment[P] | None:
        """As `Runtime.at`."""
        return await self._apart(self._opened.at, cls, id, version)

    def history(self, cls: type[ProcessManager], id: object) -> Listing[Transition]:
        """As `Runtime.history`, for ``async for``."""
        return Listing(self, self._opened.history(cls, id))

    def find(
        self,
        cls: type[P],
        *,
        complete: bool | None = None,
        suspended: bool | None = None,
        **fields: Any,
    ) -> Listing[InstanceView[P]]:
        """As `Runtime.find`, for ``async for``."""
        found = self._opened.find(cls, complete=complete, suspended=suspended, **fields)
        return Listing(self, found)

    async def counts(self, cls: type[ProcessManager] | None = None) -> dict[str, Counts]:
        """As `Runtime.counts`."""
        return await self._apart(self._opened.counts, cls)

    async def trace(self, event_id: str) -> TraceNode:
        """As `Runtime.trace`."""
        return await self._apart(self._opened.trace, event_id)

    async def why(self, event_id: str) -> list[Explanation]:
        """As `Runtime.why`."""
        return await self._apart(self._opened.why, event_id)

    def stuck(self, cls: type[ProcessManager], since: timedelta) -> Listing[StuckInstance]:
        """As `Runtime.stuck`, for ``async for``."""
        return Listing(self, self._opened.stuck(cls, since))

    def events(
        self,
        stream_or_category: str | None = None,
        *,
        after: int | Mapping[int, int] = 0,
        past_pruned: bool = False,
    ) -> Listing[StoredEvent]:
        """As `Runtime.events`, for ``async for``."""
        found = self._opened.events(stream_or_category, after=after, past_pruned=past_pruned)
        return Listing(self, found)

    @overload
    def follow(
        self,
        *,
        after: int | str | Mapping[int, int] | None = None,
        past_pruned: bool = False,
        transitions: Literal[False] = False,
        parked: Literal[False] = False,
        stream: str | None = None,
        type: type[Event] | str | Sequence[type[Event] | str] | None = None,
        timeout: float | None = None,
    ) -> AsyncFollower[StoredEvent]: ...

    @overload
    def follow(
        self,
        *,
        after: int | str | Mapping[int, int] | None = None,
        past_pruned: bool = False,
        events: bool = True,
        transitions: bool = False,
        parked: bool = False,
        stream: str | None = None,
        type: type[Event] | str | Sequence[type[Event] | str] | None = None,
        process: type[ProcessManager] | str | None = None,
        timeout: float | None = None,
    ) -> AsyncFollower[StoredEvent | InstanceTransition | Parked]: ...

    def follow(self, **given: Any) -> AsyncFollower[Any]:
        """As `Runtime.follow`, for ``async for``."""
        return AsyncFollower(self, self._opened.follow(**given))

    def timeouts(
        self,
        cls: type[ProcessManager] | None = None,
        id: object = None,
        *,
        before: datetime | None = None,
    ) -> Listing[Timeout]:
        """As `Runtime.timeouts`, for ``async for``."""
        return Listing(self, self._opened.timeouts(cls, id, before=before))

    def parked(self, *, decided: bool = False) -> Listing[Parked]:
        """As `Runtime.parked`, for ``async for``."""
        return Listing(self, self._opened.parked(decided=decided))

    def erasures(self) -> Listing[Erasure]:
        """As `Runtime.erasures`, for ``async for``."""
        return Listing(self, self._opened.erasures())

    # Deciding

    async def retry(self, parked_id: int, *, by: str | None = None) -> None:
        """As `Runtime.retry`."""
        await self._apart(self._opened.retry, parked_id, by=by)

    async def skip(self, parked_id: int, *, by: str | None = None) -> None:
        """As `Runtime.skip`."""
        await self._apart(self._opened.skip, parked_id, by=by)

    async def move_timeout(
        self,
        cls: type[ProcessManager],
        id: object,
        name: str,
        when: timedelta | datetime,
        *,
        by: str | None = None,
    ) -> bool:
        """As `Runtime.move_timeout`."""
        return await self._apart(self._opened.move_timeout, cls, id, name, when, by=by)

    async def cancel_timeout(
        self, cls: type[ProcessManager], id: object, name: str, *, by: str | None = None
    ) -> bool:
        """As `Runtime.cancel_timeout`."""
        return await self._apart(self._opened.cancel_timeout, cls, id, name, by=by)

    async def end(
        self,
        cls: type[ProcessManager],
        id: object,
        *,
        reason: str,
        by: str | None = None,
        version: int | None = None,
        compensate: bool = True,
    ) -> int:
        """As `Runtime.end`."""
        return await self._apart(
            self._opened.end,
            cls,
            id,
            reason=reason,
            by=by,
            version=version,
            compensate=compensate,
        )

    async def amend(
        self,
        cls: type[ProcessManager],
        id: object,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        by: str | None = None,
        version: int | None = None,
        retry: bool = False,
        **more: Any,
    ) -> int:
        """As `Runtime.amend`."""
        return await self._apart(
            self._opened.amend, cls, id, fields, by=by, version=version, retry=retry, **more
        )

    async def erase(
        self,
        cls: type[ProcessManager | Aggregate] | None = None,
        id: object = None,
        *,
        stream: str | None = None,
        subject: str | None = None,
        by: str | None = None,
    ) -> Erasure:
        """As `Runtime.erase`."""
        return await self._apart(self._opened.erase, cls, id, stream=stream, subject=subject, by=by)

    async def erase_again(self, erasures: Iterable[Erasure]) -> list[Erasure]:
        """As `Runtime.erase_again`."""
        return await self._apart(self._opened.erase_again, list(erasures))

    async def refresh(
        self,
        cls: type[ProcessManager],
        id: object = None,
        *,
        since: Literal["origin"] | None = None,
        by: str | None = None,
        on_progress: Callable[[RebuildProgress], object] | None = None,
    ) -> int:
        """As `Runtime.refresh`; `on_progress` is called on a thread."""
        return await self._apart(
            self._opened.refresh, cls, id, since=since, by=by, on_progress=on_progress
        )

    async def prune(
        self,
        *,
        before: datetime,
        ids_before: datetime | None = None,
        archive: str | os.PathLike[str] | Archive | None = None,
    ) -> PruningReport:
        """As `Runtime.prune`."""
        return await self._apart(
            self._opened.prune, before=before, ids_before=ids_before, archive=archive
        )

    @overload
    async def rebuild(
        self,
        cls: type[ProcessManager],
        *,
        by: str | None = None,
        on_progress: Callable[[RebuildProgress], object] | None = None,
    ) -> RebuildProgress: ...

    @overload
    async def rebuild(
        self,
        cls: type[Projection],
        *,
        by: str | None = None,
        on_progress: Callable[[ProjectionProgress], object] | None = None,
    ) -> ProjectionProgress: ...

    async def rebuild(
        self,
        cls: Any,
        *,
        by: str | None = None,
        on_progress: Callable[[Any], object] | None = None,
    ) -> Any:
        """As `Runtime.rebuild`; `on_progress` is called on a thread."""
        return await self._apart(self._opened.rebuild, cls, by=by, on_progress=on_progress)

    # The file

    async def backup(self, target: str | os.PathLike[str]) -> None:
        """As `Runtime.backup`."""
        await self._apart(self._opened.backup, target)

    async def verify(self) -> list[StoreFinding]:
        """As `Runtime.verify`."""
        return await self._apart(self._opened.verify)

    async def stats(self) -> dict[str, int]:
        """As `Runtime.stats`."""
        return await self._apart(self._opened.stats)

    async def health(self) -> Health:
        """As `Runtime.health`."""
        return await self._apart(self._opened.health)


class Listing(AsyncIterator[T], Generic[T]):
    """What a listing of a runtime yields, for ``async for``; read a page at a time on a thread."""

    def __init__(self, runtime: AsyncRuntime, items: Iterator[T]) -> None:
        self._items = items
        self._pages = _Pages(runtime, self._read)

    async def __anext__(self) -> T:
        pages = self._pages
        while not pages.there:
            if pages.is_over:
                raise StopAsyncIteration
            await pages.read()
        return pages.there.popleft()

    def _read(self) -> tuple[list[T], bool]:
        page: list[T] = []
        end = seconds() + PATIENCE
        for item in self._items:
            page.append(item)
            if len(page) >= PAGE or seconds() >= end:
                return page, False
        return page, True


class AsyncDocuments(Generic[T]):
    """As `DocumentReader`, read on a thread."""

    def __init__(self, runtime: AsyncRuntime, reader: DocumentReader[T]) -> None:
        self._runtime = runtime
        self._reader = reader

    async def get(self, key: str) -> T | None:
        """As `DocumentReader.get`."""
        return await self._runtime._apart(self._reader.get, key)

    def items(self, prefix: str = "", *, after: str | None = None) -> Listing[tuple[str, T]]:
        """As `DocumentReader.items`."""
        return Listing(self._runtime, self._reader.items(prefix, after=after))


class AsyncFollower(AsyncIterator[T], Generic[T]):
    """As `Follower`, for ``async for``; what waits needs no thread."""

    def __init__(self, runtime: AsyncRuntime, follower: Follower[T]) -> None:
        self._follower = follower
        self._place = follower.place
        self._pages = _Pages(runtime, self._read)
        self._loops = PendingReplies().loops

    @property
    def position(self) -> str:
        """As `Follower.position`."""
        return text_of(self._place)

    def stop(self) -> None:
        """As `Follower.stop`."""
        self._follower.stop()

    async def __anext__(self) -> T:
        follower, pages = self._follower, self._pages
        end = follower.end()
        while not follower.is_stopped:
            if pages.there:
                found, self._place = pages.there.popleft()
                return found
            # First, so that no commit falls between the look and the wait.
            latch = follower.next_commit()
            await pages.read()
            left = follower.left(end)
            if not pages.there:
                if left <= 0:
                    break
                await self._loops.opened(latch, left)
        raise StopAsyncIteration

    def _read(self) -> tuple[list[tuple[T, Place]], bool]:
        return self._follower.page(PAGE), False


class _Pages(Generic[T]):
    """What is read on a thread, a page at a time.

    Args:
        runtime: has the threads
        read: reads the next page, and says whether it is the last

    Attributes:
        there: what was read, and not given yet
        is_over: whether there is no more

    """

    def __init__(self, runtime: AsyncRuntime, read: Callable[[], tuple[list[T], bool]]) -> None:
        self._runtime = runtime
        self._read = read
        self.there: deque[T] = deque()
        self.is_over = False
        # A page that is being read; the coroutine that waited for it may have been cancelled.
        self._reading: asyncio.Future[tuple[list[T], bool]] | None = None

    async def read(self) -> None:
        """Read the next page, or wait for the one that is being read."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._runtime._apart(self._read))
        reading = self._reading
        try:
            page, is_over = await asyncio.shield(reading)
        finally:
            # Several coroutines may wait for it.
            is_first = reading is self._reading and reading.done()
            if is_first:
                self._reading = None
        if is_first:
            self.is_over = is_over
            self.there.extend(page)


def _close_opened(opening: Future[Runtime]) -> None:
    if opening.exception() is None:
        opening.result().close()
