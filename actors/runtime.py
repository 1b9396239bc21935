"""The runtime: what a service opens, asks, and closes."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

import pykka

from .authoring.aggregate import Aggregate
from .authoring.process_manager import due_time
from .authoring.projection import Projection
from .clock import Clock, SystemClock, seconds, stopwatch, to_micros
from .core.stimuli import Amend, End
from .engine.admin import Admin, person
from .engine.archive import opened
from .engine.dispatcher import Dispatcher
from .engine.effect_feed import processes_with_effects
from .engine.engine import GRACE, Engine, Options
from .engine.erasing import Erasing
from .engine.given_ids import together
from .engine.ingress import Ingress, Receipt, Receipts
from .engine.pending_replies import ReplyFuture
from .engine.projection_checkpoint import projections_in
from .engine.projection_feeds import is_in_projection
from .engine.projection_rebuild import ProjectionRebuild
from .engine.projection_wait import ProjectionWait
from .engine.rebuilding import Rebuilding
from .engine.refs import AggregateRef, InstanceRef, RouterRef
from .engine.scrubber import Scrubber
from .errors import DefinitionError, IdReused, QueryInHandler, TimedOut, WaitingInHandler, shown
from .listening.listener import Listener
from .listening.page_address import Page
from .listening.page_listener import PageListener
from .messages.identifiers import id_of, looked_for
from .model.registry import Registry
from .model.stored_names import check_stored_names, retired_names
from .queries.all_partitions import AllPartitions
from .queries.diagnostics import Explainer, StuckInstances
from .queries.documents import DocumentReader
from .queries.follower import Follower, open_log, types_of, wanted
from .queries.process_wait import ProcessWait
from .queries.reader import Reader, erasure_of
from .queries.trace import Tracer
from .store import (
    ClosedError,
    DictionaryEngine,
    Durability,
    LastBackup,
    NoThread,
    ReadOnlyStore,
    Step,
    StorageEngine,
    StoreError,
    WrongPartition,
    backup_open,
    is_address,
    is_divided,
    located,
    open_store,
    verify_beside,
)
from .store.interrupts import apart, start_thread, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.trace import TracerProvider

    from .authoring.process_manager import ProcessManager
    from .engine.aggregate_actor import AggregateActor
    from .engine.archive import Archive
    from .engine.health import Health
    from .engine.instance_actor import InstanceActor
    from .engine.lanes import Neighbour
    from .engine.leader_watch import LeaderWatch
    from .engine.projection_rebuild import ProjectionProgress
    from .engine.pruning import PruningReport
    from .engine.rebuilding import RebuildProgress
    from .engine.router import Router
    from .listening.listener import Serve
    from .messages.reply import Reply
    from .messages.types import Command, Event
    from .model.domain import Domain
    from .queries.diagnostics import Explanation, StuckInstance
    from .queries.log_end import Kind
    from .queries.trace import TraceNode
    from .queries.views import (
        AggregateView,
        Counts,
        Erasure,
        InstanceTransition,
        InstanceView,
        Moment,
        Parked,
        PartitionState,
        StoredEvent,
        Timeout,
        Transition,
    )
    from .store import CommandRecord, PayloadCodec, Store, StoreFinding
    from .store.interrupts import Latch
    from .telemetry.tracing import Tracing

__all__ = ["Runtime"]

logger = logging.getLogger("procession")

CLOSE_TIMEOUT = 30.0
"""Seconds that `close` waits for handlers."""

TOGETHER = 1_024
"""Messages of one `tell_many` or `publish_many` that are on their way to disk at once."""

A = TypeVar("A", bound=Aggregate)
P = TypeVar("P", bound="ProcessManager")
R = TypeVar("R")
M = TypeVar("M")
C = TypeVar("C", bound="Command")
E = TypeVar("E", bound="Event")


class Runtime:
    """Runs domains on a store: one actor for each process instance and each aggregate.

    Opening it takes up what an earlier run left unfinished. A context manager; leaving the
    `with` block closes it.

    Args:
        path: the store's folder, which is made when it is missing; an address of a PostgreSQL
            database, as ``"postgresql://user@host/database"``, in which its tables are made when
            they are missing; or a storage engine, which is closed with the runtime
        domains: whose classes to run
        partitions: how many partitions a new store is divided into; it stays that many. 1 or None
            for a store that is not divided
        processes: how many run a divided store, each a share of the partitions; with 1, this
            process runs all of them
        clock: where the time comes from; the machine's clock when it is not given
        durability: of a folder. ``"fsync"``: what was acknowledged survives a power cut;
            ``"os"``: it survives the end of the process; ``"none"``: never synced, for tests.
            Of a database, the last two do without `synchronous_commit`
        read_only: look at a store, beside its writer or without one; nothing runs
        workers: threads that may be in a handler at once
        max_awake: most instances and aggregates kept in memory; of a divided store in each
            partition, but eight times as many in all of them together
        idle_timeout: how long one stays in memory when nothing happens to it
        max_in_flight: most events of one process manager, and most queued commands, in hand
        largest_commit: most steps in one transaction
        max_chain: the longest chain of events that make one another by commands
        effect_threads: most after-effects that run at once, besides those that are ``async def``
        effect_tasks: most of those that are ``async def`` that run at once
        after_effects: whether `@after` methods run; without it, those of a store in which they ran
            before are left for a runtime in which they do. For a copy of a store, which is to do
            nothing outside
        id_retention: how long the store remembers ids, and tombstones of what was pruned: for as
            long, the same id takes effect once. None for ever
        archive: takes what is pruned before it goes: the name of a file for lines of JSON, packed
            if it ends in ``.gz`` or ``.zst``; or a call with a list of such lines, which returns
            when they are durable. None to keep them nowhere. Each partition of a divided store has
            a file of its own, with its number before the endings of the name
        retired: names of process managers, and wire names of messages, whose classes are gone for
            good: what the store holds of them stays there, and nothing takes it up
        codec: encodes payloads, states and texts before they are stored, with a key for each stream
            and instance, which `erase` has forgotten; `procession.encryption.AesGcm` is one. Only
            a new store can be given one, and it is needed from then on. To other processes that run
            partitions it goes by `pickle`
        scrub: of a folder: rows a second whose checksums a process of its own looks at, again and
            again; `health` says what it finds. None for no such process
        control: whether the command `procession`, run by the same user, can look at this runtime
            and act on it, through a socket in the store's folder. Where there can be none, the
            log and `health` say why, and all else runs. An address such as
            ``"http://127.0.0.1:8090"``, or a `Page`, has a page for browsers there as well
        tracer_provider: of OpenTelemetry, for a span of each command, step, after-effect and commit
            of what is sampled. None for none: then nothing of it is imported

    Attributes:
        clock: the clock it runs by; a `VirtualClock` has `advance`

    Raises:
        DefinitionError: the domains do not fit together, or a name that the store has seen has lost
            its class
        BeginUndecided: a process manager is new to the store, which holds events that it handles,
            and does not say where it begins
        LockedStore: the store is open for writing elsewhere
        UnknownFormat: another version wrote the store
        DamagedStore: the store is truncated, or no store
        WrongCodec: the store was written with another codec, or with none
        NoThread: the operating system starts no thread
        TooManyReaders: all places for readers are taken
        TypeError: `tracer_provider` is none
        ValueError: an option is out of range

    """

    _store: Store
    _reader: Reader
    _ingress: Ingress

    def __new__(
        cls, path: object = None, *_: object, partitions: int | None = None, **__: object
    ) -> Self:
        """A runtime of a divided store, if it is one or is to be one."""
        if cls is Runtime and isinstance(path, str | os.PathLike) and is_divided(path, partitions):
            # It is above this module.
            cluster: Any = import_module("procession.cluster.divided_runtime")
            return cast("Self", object.__new__(cluster.DividedRuntime))
        return object.__new__(cls)

    def __init__(
        self,
        path: str | os.PathLike[str] | StorageEngine,
        *domains: Domain,
        partitions: int | None = None,
        processes: int = 1,
        clock: Clock | None = None,
        durability: Durability = "fsync",
        read_only: bool = False,
        workers: int = 4,
        max_awake: int = 10_000,
        idle_timeout: timedelta = timedelta(minutes=1),
        max_in_flight: int = 1_024,
        largest_commit: int = 4_096,
        max_chain: int = 1_000,
        effect_threads: int = 4,
        effect_tasks: int = 100,
        after_effects: bool = True,
        id_retention: timedelta | None = None,
        archive: str | os.PathLike[str] | Archive | None = None,
        retired: Iterable[str] = (),
        codec: PayloadCodec | None = None,
        scrub: int | None = None,
        control: bool | str | Page = True,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        _refuse_undivided(path, partitions, processes)
        options = Options(
            workers=workers,
            max_awake=max_awake,
            idle_timeout=idle_timeout,
            max_in_flight=max_in_flight,
            largest_commit=largest_commit,
            max_chain=max_chain,
            effect_threads=effect_threads,
            effect_tasks=effect_tasks,
            after_effects=after_effects,
            id_retention=id_retention,
        )
        _check_scrub(scrub, path, read_only=read_only)
        page = page_of(control, read_only=read_only)
        clock = clock or SystemClock()
        # Whatever was given: who gave a `VirtualClock` calls its `advance` here.
        self.clock: Any = clock
        self._registry = registry = Registry(domains)
        tracing = None if tracer_provider is None else _tracing(tracer_provider, clock)
        gone = retired_names(retired, registry)
        # As it is shown: what is an address has a password.
        self._path = located(path) if is_address(path) else path
        self._is_closed = False
        # Removes the folder of one that is ephemeral.
        self._folder: Callable[[], object] | None = None
        # A thread that closes it a second time waits for the first.
        self._closing = threading.Lock()
        self._has_ended = False
        self._now = stopwatch(clock)
        self._running: Engine | None = None
        self._listener: Listener | None = None
        self._page: PageListener | None = None

        def open_it() -> None:
            self._store = self._open_store(path, durability, codec, read_only=read_only)
            self._store.encode_apart(registry)
            self._reader = Reader(self._store, registry)
            if read_only:
                return
            try:
                self._refuse_import()
                with_effects = processes_with_effects(self._store)
                secret = self._store.secret()
                if tracing is None:
                    self._ingress = Ingress(registry, clock, secret)
                else:
                    self._ingress = tracing.ingress(registry, clock, secret)
                check_stored_names(
                    self._store.scan_names(),
                    with_effects,
                    registry,
                    gone,
                    projections_in(self._store),
                )
                self._running = Engine(
                    self._store,
                    registry,
                    clock,
                    replace(
                        self._engine_options(options),
                        archive=opened(archive, self._store.partition),
                    ),
                    None if tracing is None else tracing.parts(),
                    self._scrubber(scrub),
                    self._neighbours(),
                    self._leader_watch(),
                )
                self._running.start()
                Erasing(self._running, self._store).go_on()
                for domain in registry.domains:
                    domain.opened_by(self)
                if control:
                    self._listener, self._page = listeners(self, path, page)
            except BaseException as error:
                self._is_closed = True
                # Without threads nothing is in hand that could be waited for.
                self._end(0.0 if isinstance(error, NoThread) else CLOSE_TIMEOUT)
                raise

        uninterrupted(open_it, "procession-opening", undo=lambda _: self.close())

    def _open_store(
        self,
        path: str | os.PathLike[str] | StorageEngine,
        durability: Durability,
        codec: PayloadCodec | None,
        *,
        read_only: bool,
    ) -> Store:
        return open_store(path, durability=durability, read_only=read_only, codec=codec)

    def _engine_options(self, options: Options) -> Options:
        """What the engine is given of what the caller said for all of the store."""
        return options

    def _refuse_import(self) -> None:
        if self._store.is_import:
            raise StoreError(
                f"{self._path} holds imported history, and nothing of it is to leave: look at it "
                f"with read_only=True, or say from when commands, timeouts and after-effects may "
                f"leave, with `procession import --live-from TIME` or `Backtest.go_live`"
            )

    def _leader_watch(self) -> LeaderWatch | None:
        """What looks after the leaders of this runtime and of others; None for one of its own."""
        return None

    def _neighbours(self) -> Mapping[int, Neighbour] | None:
        """The other partitions; of a store that is not divided, none."""
        own = self._store.partition
        if own is not None:
            raise WrongPartition(
                f"{self._path} is partition {own.number} of {own.count} of a divided store; open "
                f"the folder that it is in"
            )
        return None

    def _scrubber(self, rows_a_second: int | None) -> Scrubber | None:
        place = self._store.location
        if rows_a_second is None or place is None:
            return None
        return Scrubber(place, rows_a_second, self._now)

    @classmethod
    def ephemeral(cls, *domains: Domain, **options: Any) -> Runtime:
        """A runtime in a temporary folder that goes with it, without fsync and without a socket.

        Args:
            domains: whose classes to run
            options: as for `Runtime`

        """
        folder = tempfile.mkdtemp(prefix="procession-")
        try:
            given = {"durability": "none", "control": False, **options}
            runtime = cls(folder, *domains, **given)
        except BaseException:
            _remove_folder(folder, os.getpid())
            raise
        runtime._folder = weakref.finalize(runtime, _remove_folder, folder, os.getpid())
        return runtime

    def __repr__(self) -> str:
        domains = ", ".join(domain.name for domain in self._registry.domains)
        state = "closed" if self._is_closed else "open"
        if self._running is None and not self._is_closed:
            state = "read only"
        return f"<Runtime of {domains or 'no domain'} at {self._path}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Asking for something

    @overload
    def ask(
        self,
        command: Command[R],
        *,
        block: Literal[True] = True,
        timeout: float | None = None,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Reply[R]: ...

    @overload
    def ask(
        self,
        command: Command[R],
        *,
        block: Literal[False],
        timeout: float | None = None,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> pykka.Future[Reply[R]]: ...

    def ask(
        self,
        command: Command[R],
        *,
        block: bool = True,
        timeout: float | None = None,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Reply[R] | pykka.Future[Reply[R]]:
        """Have an aggregate carry out a command, and get the events it made.

        Args:
            command: what to do
            block: wait for the reply; otherwise get a Pykka future of it
            timeout: most seconds to wait, when blocking
            command_id: given again, the command takes effect once and the reply is the same
            headers: plain values that go along with all that comes of it, and stand in
                `context.headers`; `actor` names, by custom, who does it

        Returns:
            a list of the events, once they are on disk, with the `position` of the newest and the
            `command_id`

        Raises:
            Rejected: the aggregate refused
            IdReused: the id is that of another command; nothing was carried out
            InfiniteLoopError: the command was carried out, and the chain that it began has no end
                and was stopped before the reply was given
            InvalidMessage: a field or a header does not fit
            UnknownMessage: no aggregate takes the command
            TimedOut: time ran out; the command may still be carried out
            WaitingInHandler: called from a handler
            ClosedError: the runtime is closed, or was before there was a reply

        """
        timeout = seconds_of("ask", timeout)
        future = self._asking(command, command_id, headers)
        if not block:
            return future
        try:
            reply: Reply[R] = future.get(timeout=timeout)
        except pykka.Timeout:
            raise no_reply(command, timeout) from None
        return reply

    def _asking(
        self, command: Command[R], command_id: str | None, headers: Mapping[str, Any] | None
    ) -> ReplyFuture[Reply[R]]:
        """Send a command to its aggregate; the reply to wait for."""
        engine = self._engine("ask")
        is_remembered = command_id is not None
        record = self._ingress.command(command, command_id, headers, is_remembered=is_remembered)
        return self._ask_record(engine, record, is_remembered=is_remembered)

    @staticmethod
    def _ask_record(
        engine: Engine, record: CommandRecord, *, is_remembered: bool
    ) -> ReplyFuture[Any]:
        # The engine knows of events; which ones they are, the command says.
        future: ReplyFuture[Any] = ReplyFuture.within(engine.services.replies)
        engine.journal.intake.bring(
            partial(engine.command_queue.ask, record, future, is_remembered=is_remembered)
        )
        return future

    def tell(
        self,
        command: Command,
        *,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Have a command carried out later, whatever happens to this process.

        Args:
            command: what to do
            command_id: given again, the command takes effect once
            headers: as for `ask`

        Returns:
            the command's id, once the command is on disk

        Raises:
            IdReused: the id is that of another command; nothing was stored
            InvalidMessage: a field or a header does not fit
            UnknownMessage: no aggregate takes the command
            StoreError: the disk refused; nothing was kept
            WaitingInHandler: called from a handler

        """
        receipts, told = self._telling(command, command_id, headers)
        receipts.wait()
        raise_reused(receipts)
        return told

    def _telling(
        self, command: Command, command_id: str | None, headers: Mapping[str, Any] | None
    ) -> tuple[Receipts, str]:
        """Have a command written; what to wait for, and its id."""
        engine = self._engine("tell")
        record = self._ingress.command(command, command_id, headers)
        given = None if command_id is None else record
        works = [Receipt(Step(enqueue=[record], given=given))]
        return self._write(engine, works), record.command_id

    def tell_many(
        self,
        commands: Iterable[C],
        *,
        command_id: Callable[[C], str | None] | None = None,
        headers: Mapping[str, Any] | Callable[[C], Mapping[str, Any] | None] | None = None,
    ) -> list[str]:
        """As `tell`, for many commands; they share their way to disk.

        If one of them does not fit, or the disk refuses, an error is raised, and what came before
        it may be stored. One whose id is that of another command is left out: all others are
        stored before the error is raised.

        Args:
            commands: what to do
            command_id: a function of the command
            headers: the same for all, or a function of the command

        Returns:
            the commands' ids in the same order, once all are on disk

        Raises:
            IdReused: ids of some are those of other commands; its `places` say of which

        """
        self._engine("tell_many")
        told: list[str] = []
        reused: list[IdReused] = []
        for page in pages_of(commands):
            records = self._ingress.commands(page, command_id, headers)
            receipts = self._write_commands(records, are_given=command_id is not None)
            receipts.wait()
            reused += placed(receipts.reused, range(len(told), len(told) + len(records)))
            told += [record.command_id for record in records]
        raise_all(reused)
        return told

    def _write_commands(self, records: list[CommandRecord], *, are_given: bool) -> Receipts:
        """Have commands of one batch written.

        Args:
            records: of `Ingress.commands`
            are_given: whether callers gave them their ids

        """
        engine = self._engine("tell_many")
        if are_given:
            # Each may turn out to be there already, and has a step of its own to say so.
            steps = [Step(enqueue=[one], given=one) for one in records]
        else:
            steps = [Step(enqueue=records)] if records else []
        return self._write_many(engine, [Receipt(step) for step in steps])

    def publish(
        self,
        event: Event,
        *,
        stream: str,
        event_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        as_import: bool = False,
    ) -> int:
        """Store an event from outside.

        Args:
            event: what happened
            stream: where it belongs, as ``category-id``; not the stream of an aggregate that is
                registered here, which alone writes to it
            event_id: given again, the event is stored once
            headers: as for `ask`
            as_import: the event is of the past of an aggregate that is registered here, and was
                brought from elsewhere: it goes into the aggregate's own stream, and the aggregate
                reads it before it decides again

        Returns:
            its position in the log, once it is on disk

        Raises:
            IdReused: the id is that of another event, or of one in another stream; nothing was
                stored
            InvalidMessage: a field or a header does not fit; or the stream is that of an aggregate
                that is registered here; or, with `as_import`, it is not, or the event names
                another one
            InvalidName: the stream or id is empty or too long
            UnknownMessage: no domain knows the event
            StoreError: the disk refused; nothing was kept
            WaitingInHandler: called from a handler

        """
        receipts, work = self._publishing(event, stream, event_id, headers, as_import=as_import)
        receipts.wait()
        raise_reused(receipts)
        return work.position

    def _publishing(
        self,
        event: Event,
        stream: str,
        event_id: str | None,
        headers: Mapping[str, Any] | None,
        *,
        as_import: bool,
    ) -> tuple[Receipts, Receipt]:
        """Have an event written; what to wait for, and where its position will be."""
        engine = self._engine("publish")
        work = self._ingress.publication(event, stream, event_id, headers, as_import=as_import)
        return self._write(engine, [work]), work

    def publish_many(
        self,
        events: Iterable[E],
        *,
        stream: str | Callable[[E], str],
        event_id: Callable[[E], str | None] | None = None,
        headers: Mapping[str, Any] | Callable[[E], Mapping[str, Any] | None] | None = None,
        as_import: bool = False,
    ) -> list[int]:
        """As `publish`, for many events, in order; they share their way to disk.

        If one of them does not fit, or the disk refuses, an error is raised, and what came before
        it may be stored. One whose id is that of another event is left out: all others are stored
        before the error is raised.

        Args:
            events: what happened
            stream: where they belong: one stream, or a function of the event
            event_id: a function of the event
            headers: the same for all, or a function of the event
            as_import: as for `publish`, for all

        Returns:
            their positions in the same order, once all are on disk

        Raises:
            IdReused: ids of some are those of other events; its `places` say of which

        """
        self._engine("publish_many")
        positions: list[int] = []
        reused: list[IdReused] = []
        before = 0
        for page in pages_of(events):
            works = self._ingress.publications(page, stream, event_id, headers, as_import=as_import)
            receipts, found = self._write_events(works)
            receipts.wait()
            reused += placed(receipts.reused, range(before, before + len(page)))
            before += len(page)
            if not reused:
                positions += found()
        raise_all(reused)
        return positions

    def _write_events(self, works: list[Receipt]) -> tuple[Receipts, Callable[[], list[int]]]:
        """Have events of one batch written; what to wait for, and what has their positions then.

        Args:
            works: of `Ingress.publications`

        """
        engine = self._engine("publish_many")
        return self._write_many(engine, works), lambda: [work.position for work in works]

    def settle(self, timeout: float | None = None) -> None:
        """Wait until nothing is undelivered and nothing is in flight.

        Args:
            timeout: most seconds to wait

        Raises:
            TimedOut: time ran out
            WaitingInHandler: called from a handler
            ClosedError: the runtime is closed, or was meanwhile

        """
        engine, timeout = self._settling(timeout)
        if not engine.settle(timeout):
            raise not_settled(timeout)

    async def _settled_in_loop(self, timeout: float | None) -> None:
        """As `settle`, in a coroutine."""
        engine, timeout = self._settling(timeout)
        if not await engine.settle_in_loop(timeout):
            raise not_settled(timeout)

    def _settling(self, timeout: float | None) -> tuple[Engine, float | None]:
        """What settles, and for how long to wait."""
        engine = self._engine("settle")
        timeout = seconds_of("settle", timeout)
        self._refuse_in_effect(engine, "settle")
        return engine, timeout

    def wait(
        self,
        cls: type[P],
        id: object,  # noqa: A002
        *,
        until: Callable[[InstanceView[P]], object] | None = None,
        timeout: float | None = None,
    ) -> InstanceView[P]:
        """Wait for one process to end, or to be in a certain state.

        The instance need not have started yet. One that is suspended is waited for all the same.

        Args:
            cls: the process manager
            id: of the instance
            until: a function of a view, which returns whether this waits for it; it is shown how
                the instance is now and how each transition leaves it, in order and on disk
            timeout: most seconds to wait

        Returns:
            the instance as it ended, or as `until` found it

        Raises:
            ProcessEnded: it has ended, and `until` found nothing; one that may be started anew
                (`restart=True`) is waited for
            TimedOut: time ran out; says how the instance is
            WaitingInHandler: called from a handler
            ClosedError: the runtime is closed, or was meanwhile
            UnknownMessage: the class is in no domain of this runtime

        """
        waiting, timeout = self._waiting(cls, id, until, timeout)
        end = None if timeout is None else seconds() + timeout
        for latch in waiting.looks():
            if not latch.wait(None if end is None else end - seconds()):
                raise waiting.too_late(timeout)
        assert waiting.view is not None
        return waiting.view

    def _waiting(
        self,
        cls: type[P],
        name: object,
        until: Callable[[InstanceView[P]], object] | None,
        timeout: float | None,
    ) -> tuple[ProcessWait[P], float | None]:
        """A wait for one instance, and for how long."""
        engine = self._engine("wait")
        definition = self._registry.process(cls)
        if until is not None and not callable(until):
            raise TypeError(f"wait: until={shown(until)}; give a function of a view")
        instance = definition.id_of(name)
        waiting = ProcessWait(engine.services, self._reader, definition, instance, until)
        return waiting, seconds_of("wait", timeout)

    def read(
        self,
        cls: type[Projection],
        *,
        after: int | Mapping[int, int] | None = None,
        stream: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Wait until a projection's tables have what the caller wrote; then they may be read.

        Args:
            cls: the projection
            after: the position of what was written, as `publish` returns it, or `Reply.position`;
                of a divided store, such a position for each partition, by its number. Without it,
                all that is stored by now
            stream: of a divided store, the stream in whose partition the position is
            timeout: most seconds to wait

        Returns:
            the position up to which the log is in the tables; of a divided store, the lowest

        Raises:
            StreamHeldUp: the event at that position waits in its stream for an operator
            TimedOut: time ran out; says why it is not there
            WaitingInHandler: called from a handler
            ClosedError: the runtime is closed, or was meanwhile
            UnknownMessage: the class is in no domain of this runtime
            ValueError: there is no such position

        """
        waiting, timeout = self._reading(cls, after, stream, timeout)
        end = None if timeout is None else seconds() + timeout
        for latch in waiting.looks():
            if not latch.wait(None if end is None else end - seconds()):
                raise waiting.too_late(timeout)
        return waiting.position

    async def _read_in_loop(
        self,
        cls: type[Projection],
        after: int | Mapping[int, int] | None,
        stream: str | None,
        timeout: float | None,
    ) -> int:
        """As `read`, in a coroutine."""
        waiting, timeout = self._reading(cls, after, stream, timeout)
        end = None if timeout is None else seconds() + timeout
        # A look reads a row or two, as `get` does.
        for latch in waiting.looks():
            if not await waiting.loops.opened(latch, None if end is None else end - seconds()):
                raise waiting.too_late(timeout)
        return waiting.position

    def _reading(
        self,
        cls: type[Projection],
        after: int | Mapping[int, int] | None,
        stream: str | None,
        timeout: float | None,
    ) -> tuple[ProjectionWait, float | None]:
        """A wait for one projection, and for how long."""
        del stream
        engine = self._engine("read")
        _refuse_in_projection("read")
        feed = engine.projections.feed_of(self._registry.projection(cls).name)
        assert feed is not None
        last = self._store.last_position()
        # A store that is not divided is one partition.
        position = after.get(0, 0) if isinstance(after, Mapping) else after
        if position is None:
            position = last
        if type(position) is not int or not 0 <= position <= last:
            raise ValueError(
                f"read: after={shown(after)}; give a position of the log, of which the newest is "
                f"{last}"
            )
        return ProjectionWait(engine.services, feed, position), seconds_of("read", timeout)

    # Looking

    @overload
    def get(self, cls: type[P], id: object) -> InstanceView[P] | None: ...

    @overload
    def get(self, cls: type[A], id: object) -> AggregateView[A] | None: ...

    def get(
        self,
        cls: type[ProcessManager | Aggregate],
        id: object,  # noqa: A002 - the public word
    ) -> InstanceView | AggregateView | None:
        """Look at one instance or aggregate, as it is on disk.

        Args:
            cls: its class
            id: what names it

        Returns:
            a view, or None if nothing ever happened to it; its `copy` is an object of the class

        Raises:
            UnknownMessage: the class is in no domain of this runtime

        """
        self._refuse_query("get")
        return self._reader.get(cls, id)

    def documents(self, cls: type[Projection]) -> DocumentReader[Any]:
        """What a projection keeps as `Documents`, to be read as it is on disk.

        After `read`, it has what the caller wrote. Of a divided store, all partitions are read.

        Args:
            cls: the projection

        Returns:
            what has ``get(key)``, and ``items(prefix, after=...)`` in order of the keys

        Raises:
            UnknownMessage: the class is in no domain of this runtime
            DefinitionError: the class keeps no documents

        """
        return self._document_reader(cls, [self._store])

    def _document_reader(
        self, cls: type[Projection], stores: Sequence[Store]
    ) -> DocumentReader[Any]:
        self._refuse_query("documents")
        definition = self._registry.projection(cls)
        if definition.documents is None:
            raise DefinitionError(
                f"documents: {cls.__qualname__} keeps none in the store; write "
                f"`database=Documents()` in the class, or read its tables where they are"
            )
        return DocumentReader(definition.name, definition.documents, stores, self._refuse_closed)

    @overload
    def ref(
        self,
        cls: type[ProcessManager],
        id: None = None,
    ) -> pykka.ActorRef[Router]: ...

    @overload
    def ref(
        self,
        cls: type[ProcessManager],
        id: object,
    ) -> pykka.ActorRef[InstanceActor]: ...

    @overload
    def ref(
        self,
        cls: type[Aggregate],
        id: object,
    ) -> pykka.ActorRef[AggregateActor]: ...

    def ref(
        self,
        cls: type[ProcessManager | Aggregate],
        id: object = None,  # noqa: A002
    ) -> pykka.ActorRef[Any]:
        """A Pykka reference to an actor, which may be asleep.

        An aggregate's takes commands, by `ask` and `tell`. `stop()` passivates the actor when it
        has done all that it was sent; the next message wakes it, and nothing is lost.
        `is_alive()` says whether it is awake.

        Args:
            cls: a process manager or an aggregate
            id: of the instance or the aggregate; without it, the process manager's router

        Raises:
            UnknownMessage: the class is in no domain of this runtime
            InvalidMessage: the id is none

        """
        engine = self._engine("ref", waits=False)
        if issubclass(type(cls), type) and issubclass(cls, Aggregate):
            definition = self._registry.aggregate(cls)
            stream = f"{definition.category}-{id_of(id, f'for {cls.__name__}')}"
            return AggregateRef(engine, definition, stream, self.ask, self.tell)
        process = self._registry.process(cast("type[ProcessManager]", cls))
        if id is None:
            return RouterRef(engine.router_of[process.name])
        return InstanceRef(engine, process.name, process.id_of(id))

    def history(self, cls: type[ProcessManager], id: object) -> Iterator[Transition]:  # noqa: A002
        """The transitions of one instance, oldest first, read as they are asked for."""
        self._refuse_query("history")
        return self._reader.history(cls, id)

    def at(self, cls: type[P], id: object, version: int) -> Moment[P] | None:  # noqa: A002
        """Look at one instance as one of its transitions left it.

        Args:
            cls: its class
            id: what names it
            version: of the transition, from 1

        Returns:
            what it was, knew and issued then, or None if nothing ever happened to it; its `copy` is
            an object of the class

        Raises:
            CorruptRecord: a transition up to that one cannot be read
            InvalidMessage: its state does not fit the class any more
            UnknownMessage: the class is in no domain of this runtime
            ValueError: it has no such version

        """
        self._refuse_query("at")
        return self._reader.at(cls, id, version)

    def fork(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        version: int,
        path: str | os.PathLike[str] | None = None,
        *,
        domains: Iterable[Domain] | None = None,
        after_effects: bool = False,
        **options: Any,
    ) -> Runtime:
        """Go on with one instance from one of its transitions, in a store of its own.

        The new store has the instance up to that transition, and the streams of the events that it
        had handled and of the aggregates that it had sent commands to, as they were by then. What
        it had issued and was not answered is carried out anew; what was due later is due. Other
        instances are left behind, and what happens in the one store is nothing to the other. The
        new store is not divided.

        Args:
            cls: its class
            id: what names it
            version: of the transition, from 1
            path: a new folder; without it, the store is in memory and goes with its runtime
            domains: other code for it; without it, that of this runtime
            after_effects: whether `@after` methods run there
            options: as for `Runtime`; with a `VirtualClock` that begins when the transition was
                made, nothing is due that was not due then

        Returns:
            a runtime that is open, with `tell`, `ask`, `publish` and all else

        Raises:
            StoreError: there is something at the path
            UnknownInstance: there is no such instance, or it has no such version
            UnknownMessage: the class is in no domain of this runtime

        """
        # What few services call is imported where it is called.
        from .shadowing.forking import lay_fork  # noqa: PLC0415

        self._refuse_query("fork")
        definition = self._registry.process(cls)
        place: str | os.PathLike[str] | StorageEngine = DictionaryEngine() if path is None else path
        target = open_store(place, codec=options.get("codec"))
        target.encode_apart(self._registry)
        try:
            logs, instance = self._logs(), definition.id_of(id)
            lay_fork(logs, self._registry, definition, instance, version, target)
        finally:
            # Of one in memory, its runtime goes on with the tables.
            if path is not None:
                target.close()
        code: Any = self._registry.domains if domains is None else tuple(domains)
        return Runtime(place, *code, after_effects=after_effects, **{"control": False, **options})

    def find(
        self,
        cls: type[P],
        *,
        complete: bool | None = None,
        suspended: bool | None = None,
        **fields: Any,
    ) -> Iterator[InstanceView[P]]:
        """The instances of a process manager in the order in which they started.

        They are read as they are asked for.

        All of them are looked at, except where an `Indexed` field is given, or `suspended=True`.
        A field that is itself called ``complete`` or ``suspended`` cannot be asked for.

        Args:
            cls: the process manager
            complete: only those that have ended, or only those that have not
            suspended: only those that something parked holds up, or only the others
            fields: only those whose state has these values

        Raises:
            TypeError: there is no such field, or `cls` is no process manager
            UnknownMessage: the class is in no domain of this runtime

        """
        self._refuse_query("find")
        return self._reader.find(cls, fields, complete=complete, suspended=suspended)

    def trace(self, event_id: str) -> TraceNode:
        """All that one beginning led to, as a tree; `print` shows it.

        Its root is the command from outside, or the published event, that began it. What is not
        done yet is not in it.

        Args:
            event_id: of any event in it, or what `tell` returned

        Raises:
            UnknownMessage: nothing has that id

        """
        self._refuse_query("trace")
        return Tracer(self._logs(), self._registry).trace(looked_for(event_id))

    def why(self, event_id: str) -> list[Explanation]:
        """What came of an event, for every process manager that listens to it.

        Args:
            event_id: of the event

        Returns:
            a row for each instance that it is for, and one for each process manager for which it
            is for none; if no process manager listens to its stream, one for each that handles
            such events in others

        Raises:
            UnknownMessage: there is no such event

        """
        self._refuse_query("why")
        explainer = Explainer(self._logs(), self._registry, self._done_in)
        return explainer.why(looked_for(event_id))

    def stuck(self, cls: type[ProcessManager], since: timedelta) -> Iterator[StuckInstance]:
        """Instances that have not ended and have not moved for a time, in order of their starts.

        Before them the events that are as old and are held, since no instance has their learnt key.

        Args:
            cls: the process manager
            since: for how long at least, by this runtime's clock

        Raises:
            UnknownMessage: the class is in no domain of this runtime

        """
        self._refuse_query("stuck")
        if not issubclass(type(since), timedelta):
            raise TypeError(f"since={shown(since)} is no timedelta")
        found = StuckInstances(self._store, self._now)
        return found.stuck(self._registry.process(cls), since)

    def events(
        self,
        stream_or_category: str | None = None,
        *,
        after: int | Mapping[int, int] = 0,
        past_pruned: bool = False,
    ) -> Iterator[StoredEvent]:
        """Stored events in order of position, read as they are asked for.

        Args:
            stream_or_category: a stream such as ``"ecommerce::order-o1"``, a category such as
                ``"ecommerce::order"``, or None for all
            after: only events behind this position; or a position for each partition, by its
                number, as of a divided store, whose events come in order of time
            past_pruned: whether what was pruned behind `after` is passed over, and not refused.
                Without `after`, and of a stream, whose versions have no gaps, it always is

        Raises:
            Pruned: some of the events behind `after` were pruned
            InvalidMessage: `after` is no position, or the stream is none

        """
        self._refuse_query("events")
        # A store that is not divided is one partition.
        position: Any = after
        if issubclass(type(after), Mapping):
            position = position.get(0, 0)
        return self._reader.events(stream_or_category, position, past_pruned=past_pruned)

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
    ) -> Follower[StoredEvent]: ...

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
    ) -> Follower[StoredEvent | InstanceTransition | Parked]: ...

    def follow(
        self,
        *,
        after: int | str | Mapping[int, int] | None = None,
        past_pruned: bool = False,
        events: bool = True,
        transitions: bool = False,
        parked: bool = False,
        stream: str | None = None,
        type: Any = None,  # noqa: A002 - the public word
        process: type[ProcessManager] | str | None = None,
        timeout: float | None = None,
    ) -> Follower[Any]:
        """What comes to the end of the log, as it comes, once it is on disk.

        An iterator that waits. Nothing is missed and nothing comes twice, if what goes on later
        gets its `position` as `after`. Each kind comes in its order; of several kinds, an event
        comes before the transitions that it made, and before what is parked of it.

        Args:
            after: begin behind this position of an event, or, as of a divided store, behind a
                position for each partition; 0 for all that there is; or go on where another
                follower's `position` says. None for what comes from now on
            past_pruned: whether what was pruned and not given yet is passed over, and not refused;
                with 0 it is, as far as it was pruned when the follower began
            events: whether stored events come
            transitions: whether transitions of instances come
            parked: whether what is parked comes, with the decision if there is one by then
            stream: only events of this stream or category
            type: only events of this class or wire name, or of several
            process: only transitions of this process manager, and what is parked of it
            timeout: most seconds to wait for the next one; then the loop ends, and another loop
                over the same iterator goes on

        Returns:
            an iterator with `position`, and with `stop()`, which ends it from any thread

        Raises:
            InvalidMessage: `after` is no position here, or `stream` is none
            Pruned: by the iterator: something was pruned before it was given
            UnknownMessage: a class is in no domain of this runtime
            ValueError: a filter is for what is not followed
            ClosedError: the runtime is closed, or was meanwhile

        """
        self._refuse_query("follow")
        timeout = seconds_of("follow", timeout)
        asked: tuple[tuple[Kind, bool], ...] = (
            ("event", events),
            ("transition", transitions),
            ("parked", parked),
        )
        kinds = {kind for kind, is_asked in asked if is_asked}
        name = process
        if name is not None and not isinstance(name, str):
            name = self._registry.process(name).name
        is_wanted = wanted(kinds, stream=stream, types=types_of(self._registry, type), process=name)
        stores, readers = self._each_log()
        log = open_log(stores, kinds, after, is_wanted)
        if past_pruned:
            log.pass_pruned()
        return Follower(
            log,
            lambda found: readers[found.partition].found(found, len(readers)),
            self._open_with_commit,
            self._refuse_closed,
            timeout,
        )

    def _each_log(self) -> tuple[list[Store], list[Reader]]:
        """The stores of all logs, and who reads them, in order of partition."""
        return [self._store], [self._reader]

    def _open_with_commit(self, latch: Latch) -> None:
        """Have a latch opened with the next commit, if that is told of here; from any thread."""
        if self._running is not None:
            self._running.services.watches.commits.add(latch)

    def timeouts(
        self,
        cls: type[ProcessManager] | None = None,
        id: object = None,  # noqa: A002
        *,
        before: datetime | None = None,
    ) -> Iterator[Timeout]:
        """What is due later, in order of time, read as it is asked for.

        Args:
            cls: only of this process manager
            id: only of this instance
            before: only what is due at or before this moment, which has a zone

        """
        self._refuse_query("timeouts")
        if before is not None and not issubclass(type(before), datetime):
            raise TypeError(f"before={shown(before)} is no datetime")
        if before is not None and before.utcoffset() is None:
            raise ValueError(f"before={before!r} has no time zone; add tzinfo=UTC")
        return self._reader.timeouts(cls, id, before)

    def parked(self, *, decided: bool = False) -> Iterator[Parked]:
        """What could not be handled, the oldest first.

        Args:
            decided: what `retry` and `skip` have dealt with instead, with the decision

        """
        self._refuse_query("parked")
        return self._reader.parked(decided=decided)

    def counts(self, cls: type[ProcessManager] | None = None) -> dict[str, Counts]:
        """How many instances there are by status, and what is parked by kind.

        These counts are kept with each commit, so this takes as long with a million instances as
        with ten, and is right at once after a crash.

        Args:
            cls: only of this process manager

        Returns:
            by the names of process managers, those of this runtime first, and then others that the
            store knows. Under ``""`` is what is parked of none, such as commands from outside

        Raises:
            CorruptRecord: a count is damaged; `verify` says which

        """
        self._refuse_query("counts")
        return self._reader.counts(cls)

    # Deciding

    def retry(self, parked_id: int, *, by: str | None = None) -> None:
        """Handle what was parked, then what waited behind it, in order.

        Args:
            parked_id: as `parked` tells it
            by: who asks; it is recorded with the time

        Raises:
            AlreadyDecided: another decision about it was made before, and says which
            UnknownMessage: nothing was ever parked under that id

        """
        operations = self._operations("retry")
        uninterrupted(lambda: operations.retry(parked_id, by), "procession-retry")

    def skip(self, parked_id: int, *, by: str | None = None) -> None:
        """Go on without what was parked.

        Args:
            parked_id: as `parked` tells it
            by: who asks; it is recorded with the time

        Raises:
            AlreadyDecided: another decision about it was made before, and says which
            UnknownMessage: nothing was ever parked under that id

        """
        operations = self._operations("skip")
        uninterrupted(lambda: operations.skip(parked_id, by), "procession-skip")

    def move_timeout(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        name: str,
        when: timedelta | datetime,
        *,
        by: str | None = None,
    ) -> bool:
        """Have a timeout, or a command that is held back, come at another time.

        It is recorded in the instance's history.

        Args:
            cls: the process manager
            id: of the instance
            name: as `timeouts` tells it
            when: a delay from now, or a moment with a zone
            by: who asks

        Returns:
            whether it was set

        """
        now = self._engine("move_timeout").services.now()
        return self._adjust("move_timeout", cls, id, name, due_time(now, when), by)

    def cancel_timeout(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        name: str,
        *,
        by: str | None = None,
    ) -> bool:
        """Have a timeout, or a command that is held back, not come at all.

        As `move_timeout`. Of several operators who cancel one timeout, one is answered True.
        """
        return self._adjust("cancel_timeout", cls, id, name, 0, by)

    def end(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        *,
        reason: str,
        by: str | None = None,
        version: int | None = None,
        compensate: bool = True,
    ) -> int:
        """End an instance that is not to go on.

        In one step, its timeouts and the commands that it holds back are cancelled, its method that
        `ended` marks runs, and what is parked of its events is decided: ``"end"``. What waits
        behind these comes after the end, as what comes late does, and so do answers and refusals.
        What has left the instance goes on: queued commands, after-effects, and what is parked
        of those.

        Args:
            cls: the process manager
            id: of the instance
            reason: why; it is recorded, and given to the method
            by: who asks; it is recorded, and what is issued has it as the header ``actor``
            version: as the operator saw it; if it is another one by then, nothing is done
            compensate: False if the method is not to run

        Returns:
            the version that the instance has afterwards

        Raises:
            UnknownInstance: there is no such instance, or it has not started
            AlreadyEnded: it has ended, by itself or by another operator
            MovedOn: it is not at that version any more
            InvalidMessage: the reason is no text
            Exception: what the method raised; the instance is as before

        """
        operations = self._operations("end")
        definition = self._registry.process(cls)
        end = End(reason, by, version, compensate)
        return operations.end(definition, definition.id_of(id), end)

    def amend(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        by: str | None = None,
        version: int | None = None,
        retry: bool = False,
        **more: Any,
    ) -> int:
        """Give fields of an instance other values, in a transition of its own.

        They are checked and brought to their types as a message's are. The instance is found by the
        learnt keys that it has then. Whether it has ended, what is due and what is parked stay as
        they are, and rebuilding its state keeps the amendment where it was made.

        Args:
            cls: the process manager
            id: of the instance
            fields: the new values by name, for fields that are called as an argument here is
            by: who asks; it is recorded
            version: as the operator saw it; if it is another one by then, nothing is done
            retry: whether what the instance failed at is tried again with these values, in the
                same step
            more: the new values

        Returns:
            the version that the instance has afterwards

        Raises:
            UnknownInstance: there is no such instance, or it has not started
            MovedOn: it is not at that version any more
            InvalidMessage: a value does not fit, a field is not there, or it is one that says
                which instance it is

        """
        operations = self._operations("amend")
        definition = self._registry.process(cls)
        amend = Amend({**(fields or {}), **more}, by, version, retry)
        return operations.amend(definition, definition.id_of(id), amend)

    def erase(
        self,
        cls: type[ProcessManager | Aggregate] | None = None,
        id: object = None,  # noqa: A002
        *,
        stream: str | None = None,
        subject: str | None = None,
        by: str | None = None,
    ) -> Erasure:
        """Erase what is kept of one instance, one aggregate or stream, or one person.

        A marker stands in its place, which says when that was. Ids, types, times, positions and
        versions stay. An instance that runs ends, without its `ended` method; nothing wakes it
        again, and an aggregate refuses what comes for it. The store remembers what was erased, and
        goes on with it if it is cut off.

        Nothing shows what was erased when this returns. It is gone from the file when the store was
        compacted since.

        Args:
            cls: a process manager, or an aggregate
            id: of the instance or the aggregate
            stream: of any events, as ``category-id``
            subject: whose data it is: the fields that are marked ``Personal`` with that subject, in
                all events, commands and states of the classes of this runtime
            by: who asks; it is recorded

        Returns:
            what the store remembers of it

        Raises:
            UnknownInstance: nothing is kept of such an instance
            UnknownMessage: the class is in no domain of this runtime
            TypeError: not one thing is named

        """
        erasing = Erasing(self._engine("erase"), self._store)
        asks = person(by)
        if sum(one is not None for one in (cls, stream, subject)) != 1 or (
            (cls is None) != (id is None)
        ):
            raise TypeError("erase: give a class and an id, or a stream, or a subject")
        if cls is not None and issubclass(cls, Aggregate):
            definition = self._registry.aggregate(cls)
            stream = f"{definition.category}-{id_of(id, f'for {cls.__name__}')}"
        if stream is not None:
            erase = partial(erasing.stream, stream, asks)
        elif cls is not None:
            process = self._registry.process(cast("type[ProcessManager]", cls))
            erase = partial(erasing.instance, process, process.id_of(id), asks)
        else:
            erase = partial(erasing.subject, id_of(subject, "of the subject"), asks)
        return erasure_of(uninterrupted(erase, "procession-erase"))

    def erasures(self) -> Iterator[Erasure]:
        """What was erased, the oldest first.

        Keep it outside of the store, too: a backup from before an erasure does not know of it.
        """
        self._refuse_query("erasures")
        return self._reader.erasures()

    def erase_again(self, erasures: Iterable[Erasure]) -> list[Erasure]:
        """Erase what was erased before, in a store that was restored from a backup.

        Args:
            erasures: as `erasures` told them of the store that was lost

        Returns:
            those that this store did not know of, and carried out

        """
        known = {(one.kind, one.process, one.id) for one in self.erasures()}
        missing = [one for one in erasures if (one.kind, one.process, one.id) not in known]
        erasing = Erasing(self._engine("erase_again"), self._store)
        for one in missing:
            uninterrupted(
                partial(erasing.again, one.kind, one.process, one.id, person(one.by)),
                "procession-erase",
            )
        return missing

    def refresh(
        self,
        cls: type[ProcessManager],
        id: object = None,  # noqa: A002
        *,
        since: Literal["origin"] | None = None,
        by: str | None = None,
        on_progress: Callable[[RebuildProgress], object] | None = None,
    ) -> int:
        """Rebuild state from the events that made it, letting nothing out.

        The handlers run again with `context.refreshing`; what they issue and set is dropped. The
        new state is recorded as a transition. Whether an instance has ended, and what is due
        later, stay as they are.

        Args:
            cls: the process manager
            id: of one instance; all when it is not given
            since: with ``"origin"``, the whole log is gone through, and an instance also takes
                what concerned it and made no transition, as a handler that was added later would
                have. What is parked or waits is left out, and so is what an operator skipped
            by: who asks; it is recorded
            on_progress: is called with the progress after each instance, if all are rebuilt

        Returns:
            how many instances were rebuilt

        Raises:
            NotRefreshed: without an id: some could not be, and all others were
            Exception: with an id: what a handler raised; that instance is as before

        """
        engine = self._engine("refresh")
        definition = self._registry.process(cls)
        if since not in {None, "origin"}:
            raise ValueError(f'since={shown(since)}; give "origin", or nothing')
        is_whole = since is not None
        if id is not None:
            name = definition.id_of(id)
            operations = Admin(engine, self._store)
            was_there = uninterrupted(
                lambda: operations.refresh(definition, name, by, is_whole=is_whole),
                "procession-refresh",
            )
            return int(was_there)
        rebuilding = Rebuilding(engine, self._store, definition, by, on_progress)
        return (rebuilding.rebuild(again=True) if is_whole else rebuilding.refresh()).rebuilt

    @overload
    def rebuild(
        self,
        cls: type[ProcessManager],
        *,
        by: str | None = None,
        on_progress: Callable[[RebuildProgress], object] | None = None,
    ) -> RebuildProgress: ...

    @overload
    def rebuild(
        self,
        cls: type[Projection],
        *,
        by: str | None = None,
        on_progress: Callable[[ProjectionProgress], object] | None = None,
    ) -> ProjectionProgress: ...

    def rebuild(
        self,
        cls: type[ProcessManager | Projection],
        *,
        by: str | None = None,
        on_progress: Callable[[Any], object] | None = None,
    ) -> RebuildProgress | ProjectionProgress:
        """Rebuild all instances of a class from the whole log, and go on with it when called again.

        As `refresh` with ``since="origin"``, for many instances in one passage through the log.
        Those whose newest transition is a rebuild by this very code are passed over, so that what
        was interrupted, by an exception in `on_progress` or by a crash, goes on where it stopped.

        Of a projection, its tables are made anew from the whole log, beside those that are read,
        and swapped in at the end, in one transaction. It goes on likewise. What was parked and is
        in the new tables counts as retried.

        Args:
            cls: the process manager, or the projection
            by: who asks; it is recorded
            on_progress: is called with the progress after each instance, or each batch of events

        Returns:
            how many were rebuilt, and how many were passed over; of a projection, how far it came

        Raises:
            NotRefreshed: some could not be rebuilt, and are as before; all others were
            NotProjected: an event could not be written; the tables that are read are as before

        """
        engine = self._engine("rebuild")
        _refuse_in_projection("rebuild")
        if issubclass(type(cls), type) and issubclass(cls, Projection):
            return self._rebuild_tables([engine], cls, by, on_progress)
        definition = self._registry.process(cast("type[ProcessManager]", cls))
        return Rebuilding(engine, self._store, definition, by, on_progress).rebuild(again=False)

    def _rebuild_tables(
        self,
        engines: list[Engine],
        cls: type[Projection],
        by: str | None,
        on_progress: Callable[[ProjectionProgress], object] | None,
    ) -> ProjectionProgress:
        name = self._registry.projection(cls).name
        feeds = [feed for one in engines if (feed := one.projections.feed_of(name)) is not None]
        progress = ProjectionRebuild(feeds, person(by), on_progress).run()
        for feed in feeds:
            # What was set aside and is in the new tables is known as such then.
            feed.wait_until_taken_up()
        return progress

    def prune(
        self,
        *,
        before: datetime,
        ids_before: datetime | None = None,
        archive: str | os.PathLike[str] | Archive | None = None,
    ) -> PruningReport:
        """Take what was complete before a moment out of the store, beside the work.

        Instances of all process managers go, whatever `retention` they have, and events that
        nothing needs that stays: not before all who read the log have passed them, and never while
        something that is not done names them. A tombstone stays of each; positions, versions and
        ids are never given a second time.

        Args:
            before: with a zone; instances that were complete before it go, and events
            ids_before: with a zone; tombstones and ids from before it go as well. None for none
            archive: takes what goes, as that of `Runtime`, whose own it is when it is not given

        Returns:
            how much was taken out

        Raises:
            ValueError: a moment has no zone
            StoreError: the store cannot be read, or the archive is none
            OSError: the archive's disk refused; what it has not got is still in the store
            WaitingInHandler: called from a handler

        """
        engine = self._engine("prune")
        self._refuse_in_effect(engine, "prune")
        moment = _moment("before", before)
        before_of = {definition.name: moment for definition in self._registry.processes.values()}
        ids = None if ids_before is None else _moment("ids_before", ids_before)
        reply: ReplyFuture[PruningReport] = ReplyFuture.within(engine.services.replies)
        taker = opened(archive, self._store.partition)
        engine.pruner.prune(before_of, ids, reply, taker)
        report: PruningReport = reply.get()
        return report

    def _adjust(
        self,
        call: str,
        cls: type[ProcessManager],
        name: object,
        timeout: str,
        due: int,
        by: str | None,
    ) -> bool:
        operations = self._operations(call)
        definition = self._registry.process(cls)
        instance = definition.id_of(name)
        return uninterrupted(
            lambda: operations.adjust(definition, instance, timeout, due, by), f"procession-{call}"
        )

    def _operations(self, call: str) -> Admin:
        """What carries out a decision of the name of a call."""
        return Admin(self._engine(call), self._store)

    # The file

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Copy the store as it is at one moment, while everything goes on.

        The copy is a store like any other: to restore it, open a runtime on it. A runtime that is
        open for writing notes it in its store, and `health` shows it.

        Args:
            target: the copy's folder, which is missing or empty

        Raises:
            StoreError: the target holds something, or the disk refused; nothing is left there. Or
                the store is in no folder

        """
        self._refuse_closed()
        uninterrupted(lambda: self._back_up(target), "procession-backup")

    def _back_up(self, target: str | os.PathLike[str]) -> None:
        now = self._now()
        backup_open(self._store, target)
        if self._running is not None:
            self._note_backup(now, target)

    def _note_backup(self, now: int, target: str | os.PathLike[str]) -> None:
        try:
            self._store.note_backup(LastBackup.at(target, now))
        except StoreError as error:
            logger.warning("the backup is whole, and the store could not note it: %s", error)

    def verify(self) -> list[StoreFinding]:
        """Check the whole store as it is at one moment, while everything goes on.

        As `store.verify`, and by the classes of this runtime, whose learnt keys are looked for. A
        store in a folder is read by a process of its own: damage that ends it ends nothing else.

        Returns:
            all that is wrong; nothing in a sound store

        Raises:
            DamagedStore: the file is truncated or damaged, so that it cannot be read to its end
            LostStore: the file was removed or replaced under this runtime
            StoreError: it cannot be read, or no process could be started

        """
        self._refuse_closed()
        learnt = self._learnt_keys()
        return uninterrupted(
            lambda: verify_beside(self._store, now=self._now, learnt=learnt).findings,
            "procession-verify",
        )

    def _learnt_keys(self) -> list[tuple[str, int, str]]:
        return [
            (one.name, one.state_version, field)
            for one in self._registry.processes.values()
            for field in one.state.indexed
        ]

    def stats(self) -> dict[str, int]:
        """Counters since this runtime was opened, and gauges, by name."""
        return self._engine("stats", waits=False).stats()

    def health(self) -> Health:
        """How this runtime is now, with what is not well; it waits for nothing, on any thread.

        The runtime looks by itself whenever commits begin to fail or succeed again, and after a
        commit if the last look is a minute ago; what has changed then is logged.

        Raises:
            ClosedError: the runtime is closed
            ReadOnlyStore: it was opened with `read_only=True`, so that nothing runs

        """
        return replace(
            self._engine("health", waits=False).health.look(),
            control=None if self._listener is None else self._listener.socket,
            control_problem="" if self._listener is None else self._listener.problem,
            page=None if self._page is None else self._page.url,
            page_problem="" if self._page is None else self._page.problem,
        )

    @property
    def page_url(self) -> str | None:
        """Where the page opens, with its token; None if this runtime has none."""
        return None if self._page is None else self._page.url_with_token

    def close(self, *, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """Finish what is in hand, stop every actor and thread, and let go of the store.

        A caller who still waits for something gets a `ClosedError`. Closing again does nothing;
        from another thread it waits until all is closed.

        Args:
            timeout: most seconds to wait for handlers and after-effects that run. The log then
                says which ones did not return; what they make is not kept, and is done again
                when the store is opened next. None waits for as long as they take

        Raises:
            WaitingInHandler: called from a handler or an after-effect
            ReadOnlyStore: called in a process that was forked from the one that opened it

        """
        self._refuse_closing_inside()
        self._is_closed = True
        patience = None if timeout is None else timeout + GRACE
        try:
            self._close_apart(timeout, patience)
        except BaseException:
            if self._running is not None:
                self._running.hurry()
            # Once more, if it was interrupted before it had begun.
            self._close_apart(0.0, 2 * GRACE)
            raise

    def _close_apart(self, timeout: float | None, patience: float | None) -> None:
        """Close on another thread, so that it goes on when the caller is interrupted.

        Args:
            timeout: as for `close`
            patience: most seconds that the caller waits for all of it

        """
        try:
            apart(partial(self._close, timeout), "procession-closing", timeout=patience)
        except TimeoutError:
            logger.critical(
                "closed without waiting any longer (timeout=%s) for the store at %s, which is read "
                "for long, as by verify() or backup(), or whose disk does not answer; it is let go "
                "of when that is over",
                timeout,
                self._path,
            )

    def _refuse_closing_inside(self) -> None:
        if self._is_closed:
            return
        self._store.check_owner()
        if self._running is not None:
            if self._running.dispatcher.is_worker:
                raise WaitingInHandler(refusal_in_handler("close"))
            self._refuse_in_effect(self._running, "close")

    def _close(self, timeout: float | None) -> None:
        with self._closing:
            if not self._has_ended:
                self._has_ended = True
                self._end(timeout)

    def _end(self, timeout: float | None) -> None:
        engine = self._running
        try:
            self._close_parts(engine, timeout)
        finally:
            for domain in self._registry.domains:
                domain.closed_by(self)
            if engine is not None and engine.journal.is_committing:
                # An operator must see this, and no caller may wait for it.
                logger.critical(
                    "the disk has not answered a commit to %s; the store is let go of when it does",
                    self._path,
                )
                start_thread(threading.Thread(target=self._store.close, daemon=True))
            else:
                self._store.close()
            if self._folder is not None:
                self._folder()

    def _close_parts(self, engine: Engine | None, timeout: float | None) -> None:
        try:
            # First, so that what a client asked for is still done.
            for one in (self._page, self._listener):
                if one is not None:
                    one.close()
        finally:
            if engine is not None:
                engine.services.watches.committed()
                engine.close(timeout)

    def partitions(self) -> list[PartitionState]:
        """Of a divided store, how each partition is, as the files say; of another one, nothing.

        Raises:
            StoreError: one cannot be read

        """
        self._refuse_closed()
        return []

    @property
    def partition_runtimes(self) -> list[Runtime]:
        """Of a divided store, a runtime of each partition, in order; to be looked at only."""
        return []

    @property
    def is_read_only(self) -> bool:
        """Whether it was opened with `read_only=True`, so that nothing runs."""
        return self._running is None

    # Guards

    def _engine(self, call: str, *, waits: bool = True) -> Engine:
        self._refuse_closed()
        if self._running is None:
            raise ReadOnlyStore(
                f"{call}: the store at {self._path} was opened with read_only=True; "
                f"open it for writing to run anything"
            )
        if waits and self._running.dispatcher.is_worker:
            raise WaitingInHandler(refusal_in_handler(call))
        return self._running

    @staticmethod
    def _refuse_in_effect(engine: Engine, call: str) -> None:
        _refuse_in_projection(call)
        if engine.effects.is_inside:
            raise WaitingInHandler(
                f"{call}() was called from an @after method. It waits until all effects are done, "
                f"this one included; call it from a thread of your own"
            )

    def _refuse_query(self, call: str) -> None:
        self._refuse_closed()
        if Dispatcher.is_any_worker():
            raise QueryInHandler(call)

    def _refuse_closed(self) -> None:
        # Before anything waits for a lock or a thread, which a forked child does not have.
        self._store.check_owner()
        if self._is_closed:
            raise ClosedError(f"the runtime of {self._path} is closed")

    def _logs(self) -> AllPartitions:
        return AllPartitions([self._store])

    def _done_in(self, process: str, number: int) -> int:
        """As `_done`, of one of the logs."""
        del number
        return self._done(process)

    def _done(self, process: str) -> int:
        """How far a process manager's router is; what is stored of it may be behind a little."""
        stored = self._store.checkpoint(process)
        if self._running is None:
            return stored
        return max(stored, self._running.router_of[process].done_up_to)

    @staticmethod
    def _write(engine: Engine, works: list[Receipt]) -> Receipts:
        """Have steps written."""
        patience = engine.journal.intake.patience_of_many
        receipts = Receipts(works, engine.command_queue, engine.services.replies, patience)
        engine.journal.add_all(works)
        return receipts

    def _write_many(self, engine: Engine, works: list[Receipt]) -> Receipts:
        """Have steps of one batch written, which know their places in it."""
        for place, work in enumerate(works):
            work.place = place
        return self._write(engine, works)


def pages_of(messages: Iterable[M], most: int = TOGETHER) -> Iterator[list[M]]:
    """Messages, as many at a time as are written at once; at least one page, which may be empty."""
    left = iter(messages)
    yield list(islice(left, most))
    while page := list(islice(left, most)):
        yield page


def placed(reused: list[IdReused], places: Sequence[int]) -> list[IdReused]:
    """What was said of some of a batch, with their places in the whole."""
    for one in reused:
        one.places = tuple(places[place] for place in one.places)
    return reused


def _refuse_in_projection(call: str) -> None:
    if is_in_projection():
        raise WaitingInHandler(
            f"{call}() was called from a @project method. It waits for what the method writes; "
            f"call it from a thread of your own"
        )


def no_reply(command: Command, timeout: float | None) -> TimedOut:
    """The error when time ran out for who asked."""
    return TimedOut(
        f"no reply to {type(command).__name__} within {timeout} seconds; it may still be "
        f"carried out. Ask again with the same command_id to learn what came of it"
    )


def not_settled(timeout: float | None) -> TimedOut:
    """The error when time ran out for who waits until all is settled."""
    return TimedOut(
        f"not settled within {timeout} seconds: a handler is still running, or messages "
        f"keep coming; see stats()"
    )


def raise_reused(receipts: Receipts) -> None:
    """Raise why a step was not written, if its id stands for something else."""
    for error in receipts.reused:
        raise error


def raise_all(reused: list[IdReused]) -> None:
    """Raise why some steps were not written, as one error."""
    if reused:
        raise together(reused)


def seconds_of(call: str, timeout: float | None) -> float | None:
    """How long to wait; seen to before anything is sent."""
    if timeout is None:
        return None
    # What is no number is not from 0 either.
    if not (issubclass(type(timeout), int | float) and timeout >= 0):
        raise ValueError(f"{call}: timeout={shown(timeout)}; give seconds from 0, or None")
    # Threads cannot wait for longer, and need not.
    return min(timeout, threading.TIMEOUT_MAX)


def _refuse_undivided(path: object, partitions: int | None, processes: int) -> None:
    """What is given is for a divided store, and this is none."""
    if partitions not in {None, 1} or processes != 1:
        raise ValueError(
            f"partitions={partitions}, processes={processes}: {shown(path)} is no divided store; "
            f"give the folder of one, or of a new one with partitions from 2"
        )


def _moment(name: str, moment: object) -> int:
    """A moment in microseconds, as a caller gives it."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ValueError(f"{name}={shown(moment)}; give a datetime with a zone, as of UTC")
    return to_micros(moment)


def _check_scrub(scrub: int | None, path: object, *, read_only: bool) -> None:
    if scrub is None:
        return
    if type(scrub) is not int or scrub < 1:
        raise ValueError(f"scrub={scrub!r}; give a whole number of rows a second from 1, or None")
    if read_only or isinstance(path, StorageEngine) or is_address(path):
        raise ValueError(
            f"scrub={scrub!r}: what is scrubbed is a store in a folder that is open for writing"
        )


def _answering(runtime: weakref.ref[Runtime], room: str = "control", *page: Page) -> Serve:
    """What answers clients; it is above this module and needs an extra, so it is found by name.

    Raises:
        ImportError: the extra is not installed

    """
    serving: Any = import_module(f"procession.{room}.serving")
    there = runtime()
    if there is None:
        raise ClosedError("the runtime was dropped without being closed")
    serve: Serve = serving.server_for(there, *page)
    return serve


def page_of(control: bool | str | Page, *, read_only: bool) -> bool | Page:
    """Where the page is, if there is to be one; else whether the command line is answered.

    Raises:
        ValueError: there can be none there

    """
    page = Page(address=control) if isinstance(control, str) else control
    if read_only and isinstance(page, Page):
        raise ValueError(
            f"control={control!r}: what is open for reading only has no page of its own; mount "
            f"`procession.console`, or let the service have it"
        )
    return page


def listeners(
    runtime: Runtime,
    path: str | os.PathLike[str] | StorageEngine,
    page: bool | Page,
    *,
    is_shared: bool = False,
) -> tuple[Listener | None, PageListener | None]:
    """What waits for clients at the socket in a store's folder, and what waits for browsers."""
    listener = for_browsers = None
    if not isinstance(path, StorageEngine):
        answering = partial(_answering, weakref.ref(runtime))
        listener = Listener(path, answering, is_shared=is_shared)
        listener.start()
    if isinstance(page, Page):
        where = "memory" if isinstance(path, StorageEngine) else path
        load = partial(_answering, weakref.ref(runtime), "page", page)
        for_browsers = PageListener(where, page, load)
        for_browsers.start()
    return listener, for_browsers


def _tracing(provider: TracerProvider, clock: Clock) -> Tracing:
    """What makes spans; it needs an extra, so it is imported when it is asked for."""
    tracing: Any = import_module("procession.telemetry.tracing")
    made: Tracing = tracing.Tracing(provider, clock)
    return made


def _remove_folder(folder: str, owner: int) -> None:
    # A child that was forked ends as well, and the folder is not its own.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def refusal_in_handler(call: str) -> str:
    """What is said to a handler that calls what waits."""
    return (
        f"{call}() was called from a handler. It waits, and what a handler makes must leave only "
        f"with its step: use self.issue(...) in a process manager, or return events from an "
        f"aggregate"
    )
