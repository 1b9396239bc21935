"""The runtime of a divided store: each call goes to the partition that it is about, or to all."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from heapq import merge
from importlib import import_module
from itertools import chain
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..authoring.aggregate import Aggregate
from ..authoring.projection import Projection
from ..clock import SystemClock, seconds, stopwatch
from ..engine.dispatcher import Dispatcher
from ..engine.projection_rebuild import ProjectionProgress
from ..engine.pruning import PruningReport
from ..engine.rebuilding import RebuildProgress
from ..errors import (
    IdReused,
    InvalidMessage,
    NotRefreshed,
    PartitionDown,
    UnknownMessage,
    UnreadableRecord,
    WaitingInHandler,
    shown,
)
from ..messages.identifiers import id_of
from ..model.registry import Registry
from ..model.whereabouts import where_is
from ..queries.all_partitions import AllPartitions
from ..queries.views import Counts
from ..runtime import (
    TOGETHER,
    Runtime,
    listeners,
    not_settled,
    page_of,
    pages_of,
    placed,
    raise_all,
    refusal_in_handler,
    seconds_of,
)
from ..store import (
    ClosedError,
    DividedStore,
    Partition,
    StoreError,
    backup_divided,
    divided_store,
    make_divided_store,
    verify_lanes,
)
from ..store.interrupts import Latch, uninterrupted
from .commit_watch import CommitWatch
from .health_of_all import down, together
from .parent import Children
from .partition_runtime import AS_LARGE, PartitionRuntime
from .partition_states import states_of
from .remote_partition import RemotePartition
from .share import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from ..authoring.process_manager import ProcessManager
    from ..engine.engine import Engine
    from ..engine.health import Health, HealthProblem
    from ..engine.ingress import Receipt, Receipts
    from ..engine.pending_replies import ReplyFuture
    from ..listening.listener import Listener
    from ..listening.page_listener import PageListener
    from ..messages.types import Command, Event
    from ..model.aggregate_definition import AggregateDefinition
    from ..model.domain import Domain
    from ..model.process_definition import ProcessDefinition
    from ..queries.diagnostics import StuckInstance
    from ..queries.documents import DocumentReader
    from ..queries.reader import Reader
    from ..queries.views import Erasure, Parked, PartitionState, StoredEvent, Timeout
    from ..store import Divided, PayloadCodec, Store, StoreFinding
    from .commit_watch import Watched
    from .node_share import NodeShare

    _Writing: TypeAlias = tuple[Receipts, list[int]]
    """What to wait for, and the places in a batch of what is written."""

__all__ = ["DividedRuntime"]

M = TypeVar("M")

BRIEFLY = 0.001
"""Seconds between two looks whether all lanes are empty."""


class DividedRuntime(Runtime):
    """As `Runtime`, over all partitions of a divided store; made by `Runtime(partitions=…)`.

    Args:
        path: the folder of the divided store, or its address in a database
        domains: whose classes to run
        partitions: how many; None for as many as there are
        processes: how many run them; with 1, this process does
        options: as for `Runtime`, for each partition

    Raises:
        WrongPartition: the store has another number of partitions, or is not divided

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *domains: Domain,
        partitions: int | None = None,
        processes: int = 1,
        **options: Any,
    ) -> None:
        codec = options.get("codec")
        self._divided = divided = _settled(path, partitions, codec)
        self._codec: PayloadCodec | None = codec
        self._path = divided.place
        self.clock = options.setdefault("clock", SystemClock())
        self._now = stopwatch(self.clock)
        self._registry = Registry(domains)
        self._is_closed = False
        self._closing = threading.Lock()
        self._is_reading = bool(options.get("read_only"))
        if type(processes) is not int or not 1 <= processes <= divided.count:
            raise ValueError(
                f"processes={processes!r}; give a whole number from 1 to {divided.count}, which is "
                f"how many partitions there are"
            )
        control = options.pop("control", True)
        page = page_of(control, read_only=self._is_reading)
        if options.setdefault("durability", "fsync") != "fsync":
            raise StoreError(
                f"durability={options['durability']!r}: a partition goes on from what another one "
                f'has made durable, so a divided store needs durability="fsync"'
            )
        self._partition = Partition(0, divided.count)
        self._share: Share | NodeShare | None = None
        self._children: Children | None = None
        self._watch: CommitWatch | None = None
        self._listener: Listener | None = None
        self._page: PageListener | None = None
        self._parts: list[PartitionRuntime] = []
        try:
            self._open(domains, processes, options)
            if control and not self._is_reading:
                # Each of the nodes that share a database answers for all partitions.
                folder = divided.folder if isinstance(divided, DividedStore) else None
                self._listener, self._page = listeners(
                    self, folder or path, page, is_shared=folder is None
                )
        except BaseException:
            self.close(timeout=0.0)
            raise

    def _open(self, domains: tuple[Domain, ...], processes: int, options: dict[str, Any]) -> None:
        divided, numbers = self._divided, range(self._divided.count)
        if not isinstance(divided, DividedStore):
            self._open_in_database(divided, domains, processes, options)
            return
        if not self._is_reading and processes == 1:
            self._share = Share(divided, numbers, domains, options)
            self._parts = list(self._share.parts.values())
            return
        if not self._is_reading:
            places = [where_is(one) for one in domains]
            _refuse_unsendable(options)
            sent = {name: value for name, value in options.items() if name != "clock"}
            self._children = Children(divided, processes, places, sent)
        read: dict[int, Watched] = {}
        for number in numbers:
            store = divided.open(number, read_only=True, codec=self._codec)
            read[number] = store
            call = partial(self._call, number)
            part = (
                PartitionRuntime(store, None, *domains, **options)
                if self._is_reading
                else RemotePartition(store, call, *domains, **options)
            )
            self._parts.append(part)
        if not self._is_reading:
            self._watch = CommitWatch(read, self._has_moved)
            self._watch.start()

    def _open_in_database(
        self,
        divided: Divided,
        domains: tuple[Domain, ...],
        processes: int,
        options: dict[str, Any],
    ) -> None:
        if processes != 1:
            raise ValueError(
                f"processes={processes}: a store in a database is shared by all processes that "
                f"open it; start another one with the same address"
            )
        if self._is_reading:
            for number in range(divided.count):
                store = divided.open(number, read_only=True, codec=self._codec)
                self._parts.append(PartitionRuntime(store, None, *domains, **options))
            return
        # What stands on the driver is imported where it is used.
        module: Any = import_module(".node_share", __package__)
        self._share = share = module.NodeShare(divided, self._registry, domains, options)
        self._parts = share.parts

    def _call(self, number: int, name: str, *arguments: Any) -> ReplyFuture[Any]:
        assert self._children is not None
        return self._children.call(name, number, *arguments)

    def _has_moved(self, number: int) -> None:
        part = self._parts[number]
        assert isinstance(part, RemotePartition)
        part.has_moved()

    @property
    def processes(self) -> dict[int, int]:
        """The id of the process that runs each partition."""
        if self._children is not None:
            return self._children.processes
        return dict.fromkeys(range(self._divided.count), os.getpid())

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<Runtime of {self._divided.count} partitions at {self._path}, {state}>"

    def __enter__(self) -> Self:
        return self

    # Whom a call is for

    def _of_stream(self, stream: object) -> PartitionRuntime:
        self._refuse_closed()
        # What is no stream any partition refuses.
        number = self._partition.of_stream(stream) if isinstance(stream, str) else 0
        return self._parts[number]

    def _of_command(self, call: str, command: Command) -> PartitionRuntime:
        self._refuse_handler(call)
        try:
            _, stream = self._registry.address(command)
        except (InvalidMessage, UnknownMessage, AttributeError):
            # Any partition says what is wrong with it.
            return self._parts[0]
        return self._of_stream(stream)

    def _of_instance(self, cls: Any, name: object) -> PartitionRuntime:
        """The partition of an instance or an aggregate.

        Raises:
            UnknownMessage: the class is in no domain of this runtime
            InvalidMessage: the id is none

        """
        self._refuse_closed()
        if isinstance(cls, type) and issubclass(cls, Aggregate):
            return self._of_stream(_stream_of(self._registry.aggregate(cls), name))
        process = self._registry.process(cls)
        instance = process.id_of(name)
        if process.stateless:
            return self._having(cls, instance)
        return self._parts[self._partition.of(instance)]

    def _having(self, cls: type[ProcessManager], instance: str) -> PartitionRuntime:
        """The partition in which a stateless instance is, which is where its event is."""
        for part in self._parts:
            if part.get(cls, instance) is not None:
                return part
        return self._parts[0]

    def _of_parked(self, parked_id: object) -> tuple[PartitionRuntime, int]:
        self._refuse_closed()
        if not isinstance(parked_id, int) or parked_id < self._divided.count:
            raise UnknownMessage(
                f"nothing is parked under {shown(parked_id)}; parked() lists what is, "
                f"and parked(decided=True) what was"
            )
        number, place = divmod(parked_id, self._divided.count)
        return self._parts[place], number

    def _refuse_closing_inside(self) -> None:
        self._refuse_handler("close")

    def _refuse_handler(self, call: str) -> None:
        self._refuse_closed()
        if Dispatcher.is_any_worker():
            raise WaitingInHandler(refusal_in_handler(call))

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise ClosedError(f"the runtime of {self._path} is closed")

    # Asking for something

    def _asking(self, command: Any, command_id: Any, headers: Any) -> Any:
        return self._of_command("ask", command)._asking(command, command_id, headers)

    def _telling(self, command: Any, command_id: Any, headers: Any) -> tuple[Receipts, str]:
        return self._of_command("tell", command)._telling(command, command_id, headers)

    def tell_many(
        self,
        commands: Iterable[Any],
        *,
        command_id: Callable[[Any], str | None] | None = None,
        headers: Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None] | None = None,
    ) -> list[str]:
        told: list[str] = []
        reused: list[IdReused] = []
        for page in pages_of(commands, self._most_together):
            groups = _grouped(page, lambda one: self._of_command("tell_many", one))
            # Each fits before any is on its way, and all are on their way before any is waited for.
            made = [
                (part, places, part._ingress.commands(some, command_id, headers))
                for part, places, some in groups
            ]
            writing = [
                (part._write_commands(records, are_given=command_id is not None), places)
                for part, places, records in made
            ]
            reused += _written(writing, len(told))
            ids = {
                place: record.command_id
                for _, places, records in made
                for place, record in zip(places, records, strict=True)
            }
            told += [ids[place] for place in range(len(page))]
        raise_all(reused)
        return told

    @property
    def _most_together(self) -> int:
        """Messages that are on their way to disk at once, so that each partition has some."""
        return TOGETHER * min(len(self._parts), AS_LARGE)

    def _publishing(
        self, event: Event, stream: str, event_id: Any, headers: Any, *, as_import: bool
    ) -> tuple[Receipts, Receipt]:
        self._refuse_handler("publish")
        part = self._of_stream(stream)
        return part._publishing(event, stream, event_id, headers, as_import=as_import)

    def publish_many(
        self,
        events: Iterable[Any],
        *,
        stream: str | Callable[[Any], str],
        event_id: Callable[[Any], str | None] | None = None,
        headers: Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None] | None = None,
        as_import: bool = False,
    ) -> list[int]:
        self._refuse_handler("publish_many")
        positions: list[int] = []
        reused: list[IdReused] = []
        before = 0
        for page in pages_of(events, self._most_together):
            groups = _grouped(
                page, lambda one: self._of_stream(stream(one) if callable(stream) else stream)
            )
            # As in `tell_many`.
            made = [
                (
                    part,
                    places,
                    part._ingress.publications(
                        some, stream, event_id, headers, as_import=as_import
                    ),
                )
                for part, places, some in groups
            ]
            under_way = [(places, *part._write_events(works)) for part, places, works in made]
            reused += _written([(receipts, places) for places, receipts, _ in under_way], before)
            before += len(page)
            if reused:
                continue
            found_at = {
                place: position
                for places, _, found in under_way
                for place, position in zip(places, found(), strict=True)
            }
            positions += [found_at[place] for place in range(len(page))]
        raise_all(reused)
        return positions

    def settle(self, timeout: float | None = None) -> None:
        self._refuse_handler("settle")
        given = seconds_of("settle", timeout)
        end = None if given is None else seconds() + given
        while True:
            before = self._settle_all(end, given)
            # Twice, since a partition that was settled may have been sent something since.
            if before is not None and before == self._settle_all(end, given):
                return
            Latch().wait(BRIEFLY)

    async def _settled_in_loop(self, timeout: float | None) -> None:
        await asyncio.to_thread(self.settle, timeout)

    def _settle_all(self, end: float | None, given: float | None) -> list[int] | None:
        """Settle each partition; returns how many commits each has, if all lanes are empty."""
        for part in self._parts:
            left = None if end is None else max(0.0, end - seconds())
            part.settle(left)
        if end is not None and seconds() > end:
            raise not_settled(given)
        if self._has_taken_all:
            return [part.commit_count for part in self._parts]
        return None

    @property
    def _has_taken_all(self) -> bool:
        if self._share is not None:
            return self._share.has_taken_all
        return all(part.has_taken_all for part in self._parts)

    def _waiting(self, cls: Any, name: object, until: Any, timeout: float | None) -> Any:
        self._refuse_handler("wait")
        return self._of_instance(cls, name)._waiting(cls, name, until, timeout)

    def read(
        self,
        cls: Any,
        *,
        after: int | Mapping[int, int] | None = None,
        stream: str | None = None,
        timeout: float | None = None,
    ) -> int:
        self._refuse_handler("read")
        given = seconds_of("read", timeout)
        end = None if given is None else seconds() + given
        wanted: dict[int, int | None] = dict.fromkeys(range(len(self._parts)))
        if isinstance(after, Mapping):
            wanted = {number: after[number] for number in wanted if number in after}
        elif after is not None:
            if stream is None:
                raise ValueError(
                    f"read: after={after!r}: a divided store has a log for each partition; say in "
                    f"whose stream the position is, as stream=..., or give a position for each"
                )
            wanted = {self._partition.of_stream(stream): after}
        found = [
            self._parts[number].read(
                cls,
                after=position,
                timeout=None if end is None else max(0.0, end - seconds()),
            )
            for number, position in wanted.items()
        ]
        return min(found, default=0)

    async def _read_in_loop(
        self, cls: Any, after: Any, stream: str | None, timeout: float | None
    ) -> int:
        return await asyncio.to_thread(self.read, cls, after=after, stream=stream, timeout=timeout)

    # Looking

    def get(self, cls: Any, id: object) -> Any:
        self._refuse_query("get")
        return self._of_instance(cls, id).get(cls, id)

    def documents(self, cls: Any) -> DocumentReader[Any]:
        return self._document_reader(cls, [part.store for part in self._parts])

    def ref(self, cls: Any, id: object = None) -> Any:
        if id is None:
            raise InvalidMessage(
                f"ref({cls.__name__}): each partition has a router of its own; name an instance"
            )
        return self._of_instance(cls, id).ref(cls, id)

    def history(self, cls: Any, id: object) -> Any:
        self._refuse_query("history")
        return self._of_instance(cls, id).history(cls, id)

    def at(self, cls: Any, id: object, version: int) -> Any:
        self._refuse_query("at")
        return self._of_instance(cls, id).at(cls, id, version)

    def find(
        self,
        cls: Any,
        *,
        complete: bool | None = None,
        suspended: bool | None = None,
        **fields: Any,
    ) -> Iterator[Any]:
        self._refuse_query("find")
        definition = self._registry.process(cls)
        for field in definition.state.indexed:
            if field in fields:
                return self._found_by_key(definition, field, fields, complete, suspended)
        return chain.from_iterable(
            part.find(cls, complete=complete, suspended=suspended, **fields) for part in self._parts
        )

    def _found_by_key(
        self,
        definition: ProcessDefinition,
        field: str,
        fields: Mapping[str, Any],
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[Any]:
        """Instances by a learnt key: the partition of its value knows them."""
        key = id_of(fields[field], field)
        names = self._parts[self._partition.of(key)].read_index(definition.name, field, key)
        for name in names:
            part = self._parts[self._partition.of(name)]
            yield from part.find_among(definition, [name], fields, complete, suspended)

    def stuck(self, cls: Any, since: Any) -> Iterator[Any]:
        self._refuse_query("stuck")
        return chain.from_iterable(
            (self._with_parked(number, one) for one in part.stuck(cls, since))
            for number, part in enumerate(self._parts)
        )

    def _with_parked(self, number: int, stuck: StuckInstance) -> StuckInstance:
        """With the id that `retry` and `skip` take, which say the partition."""
        # What cannot be read has none.
        with suppress(UnreadableRecord):
            if stuck.parked is not None:
                return replace(stuck, parked=stuck.parked * self._divided.count + number)
        return stuck

    def _logs(self) -> AllPartitions:
        stateless = [one.name for one in self._registry.processes.values() if one.stateless]
        return AllPartitions([part.store for part in self._parts], stateless)

    def _done_in(self, process: str, number: int) -> int:
        return self._parts[number].done(process)

    def events(
        self,
        stream_or_category: str | None = None,
        *,
        after: int | Mapping[int, int] = 0,
        past_pruned: bool = False,
    ) -> Iterator[StoredEvent]:
        self._refuse_query("events")
        if isinstance(stream_or_category, str) and "-" in stream_or_category:
            after = after if isinstance(after, int) else 0
            return self._of_stream(stream_or_category).events(stream_or_category, after=after)
        if isinstance(after, int) and after:
            raise InvalidMessage(
                f"after={after}: a divided store has a position for each partition; give a "
                f"mapping of partitions to positions"
            )
        positions = {} if isinstance(after, int) else after
        return merge(
            *(
                part.events(
                    stream_or_category, after=positions.get(number, 0), past_pruned=past_pruned
                )
                for number, part in enumerate(self._parts)
            ),
            key=lambda event: event.time,
        )

    def _each_log(self) -> tuple[list[Store], list[Reader]]:
        return [part.store for part in self._parts], [part._reader for part in self._parts]

    def _open_with_commit(self, latch: Latch) -> None:
        for part in self._parts:
            part._open_with_commit(latch)

    def timeouts(
        self,
        cls: Any = None,
        id: object = None,
        *,
        before: Any = None,
    ) -> Iterator[Timeout]:
        self._refuse_query("timeouts")
        parts = self._parts if id is None else [self._of_instance(cls, id)]
        return merge(
            *(part.timeouts(cls, id, before=before) for part in parts), key=lambda one: one.due
        )

    def parked(self, *, decided: bool = False) -> Iterator[Parked]:
        self._refuse_query("parked")
        count = self._divided.count

        def of_part(number: int, part: PartitionRuntime) -> Iterator[Parked]:
            return (
                replace(one, id=one.id * count + number) for one in part.parked(decided=decided)
            )

        return merge(
            *(of_part(number, part) for number, part in enumerate(self._parts)),
            key=lambda one: one.time,
        )

    def counts(self, cls: Any = None) -> dict[str, Counts]:
        self._refuse_query("counts")
        found: dict[str, Counts] = {}
        for part in self._parts:
            for name, counts in part.counts(cls).items():
                found[name] = _added(found[name], counts) if name in found else counts
        return found

    # Deciding

    def retry(self, parked_id: int, *, by: str | None = None) -> None:
        part, number = self._of_parked(parked_id)
        part.retry(number, by=by)

    def skip(self, parked_id: int, *, by: str | None = None) -> None:
        part, number = self._of_parked(parked_id)
        part.skip(number, by=by)

    def move_timeout(self, cls: Any, id: object, name: str, when: Any, *, by: Any = None) -> bool:
        return self._of_instance(cls, id).move_timeout(cls, id, name, when, by=by)

    def cancel_timeout(self, cls: Any, id: object, name: str, *, by: Any = None) -> bool:
        return self._of_instance(cls, id).cancel_timeout(cls, id, name, by=by)

    def end(self, cls: Any, id: object, **given: Any) -> int:
        return self._of_instance(cls, id).end(cls, id, **given)

    def amend(self, cls: Any, id: object, fields: Any = None, /, **given: Any) -> int:
        return self._of_instance(cls, id).amend(cls, id, fields, **given)

    def erase(
        self,
        cls: Any = None,
        id: object = None,
        *,
        stream: Any = None,
        subject: Any = None,
        by: Any = None,
    ) -> Erasure:
        self._refuse_closed()
        if isinstance(cls, type) and issubclass(cls, Aggregate):
            stream = _stream_of(self._registry.aggregate(cls), id)
            return self.erase(stream=stream, by=by)
        if cls is not None:
            home = self._of_instance(cls, id)
        elif stream is not None:
            home = self._of_stream(stream)
        elif subject is not None:
            home = self._parts[self._partition.of(id_of(subject, "of the subject"))]
        else:
            home = self._parts[0]
        first, *others = self._erasing_order(home, is_of_subject=subject is not None)
        erased = first.erase(cls, id, stream=stream, subject=subject, by=by)
        for part in others:
            part.erase_here(erased.kind, erased.process, erased.id, erased.by)
        if self._codec is not None:
            # This process may read what others write.
            self._codec.look_again()
        return erased

    def _erasing_order(
        self, home: PartitionRuntime, *, is_of_subject: bool
    ) -> list[PartitionRuntime]:
        """The partitions: what is erased belongs to one, others have copies and what is on its way.

        That of a subject comes last, since it forgets the key, by which others find what is to go.
        """
        others = [part for part in self._parts if part is not home]
        return [*others, home] if is_of_subject else [home, *others]

    def erasures(self) -> Iterator[Erasure]:
        self._refuse_query("erasures")
        found: dict[tuple[str, str, str], Erasure] = {}
        for part in self._parts:
            for one in part.erasures():
                found.setdefault((one.kind, one.process, one.id), one)
        return iter(sorted(found.values(), key=lambda one: one.time))

    def erase_again(self, erasures: Iterable[Erasure]) -> list[Erasure]:
        self._refuse_closed()
        given, done = list(erasures), []
        known = {
            part: {(one.kind, one.process, one.id) for one in part.erasures()}
            for part in self._parts
        }
        for one in given:
            home = self._parts[self._partition.of(one.id)]
            for part in self._erasing_order(home, is_of_subject=one.kind == "subject"):
                if (one.kind, one.process, one.id) not in known[part]:
                    part.erase_here(one.kind, one.process, one.id, one.by)
                    done.append(one)
        return [one for one in given if one in done]

    def refresh(
        self,
        cls: Any,
        id: object = None,
        *,
        since: Any = None,
        by: Any = None,
        on_progress: Any = None,
    ) -> int:
        if id is not None:
            return self._of_instance(cls, id).refresh(cls, id, since=since, by=by)
        rebuilt = 0
        for progress in self._rebuilt(cls, lambda part: part.refresh(cls, since=since, by=by)):
            rebuilt = progress.rebuilt
            if on_progress is not None:
                on_progress(progress)
        return rebuilt

    def prune(self, *, before: Any, ids_before: Any = None, archive: Any = None) -> PruningReport:
        found = PruningReport()
        for part in self._parts:
            found += part.prune(before=before, ids_before=ids_before, archive=archive)
        return found

    def rebuild(
        self,
        cls: Any,
        *,
        by: str | None = None,
        on_progress: Callable[[Any], object] | None = None,
    ) -> Any:
        if issubclass(type(cls), type) and issubclass(cls, Projection):
            self._refuse_handler("rebuild")
            if self._registry.projection(cls).documents is not None:
                return self._rebuild_documents(cls, by, on_progress)
            return self._rebuild_tables(self._engines_here("rebuild"), cls, by, on_progress)
        progress = RebuildProgress()
        for progress in self._rebuilt(cls, lambda part: part.rebuild(cls, by=by)):
            if on_progress is not None:
                on_progress(progress)
        return progress

    def _rebuild_documents(
        self,
        cls: type[Projection],
        by: str | None,
        on_progress: Callable[[ProjectionProgress], object] | None,
    ) -> ProjectionProgress:
        """Have each partition make its documents anew, wherever it runs."""
        before, whole = 0, ProjectionProgress()

        def told(progress: ProjectionProgress) -> None:
            nonlocal whole
            whole = replace(progress, projected=before + progress.projected)
            if on_progress is not None:
                on_progress(whole)

        for part in self._parts:
            told(part.rebuild(cls, by=by, on_progress=told))
            before = whole.projected
        return whole

    def _engines_here(self, call: str) -> list[Engine]:
        """The engines of all partitions.

        Raises:
            StoreError: others are elsewhere

        """
        engines: list[Engine] = []
        for number, part in enumerate(self._parts):
            here = getattr(part, "local", None) or part
            if here._running is None:
                raise StoreError(
                    f"{call}: all partitions have the tables in common, and another process runs "
                    f"partition {number}; have one process run all of them for this"
                )
            engines.append(here._engine(call))
        return engines

    def _rebuilt(
        self, cls: Any, rebuild: Callable[[PartitionRuntime], int | RebuildProgress]
    ) -> Iterator[RebuildProgress]:
        """Have each partition rebuild its instances; how far it has come behind each of them.

        Raises:
            NotRefreshed: some could not be, of all partitions

        """
        self._refuse_handler("rebuild")
        name, whole = self._registry.process(cls).name, RebuildProgress()
        for part in self._parts:
            try:
                found = rebuild(part)
            except NotRefreshed as error:
                whole.rebuilt += error.rebuilt
                whole.not_rebuilt += error.not_rebuilt
                whole.errors.update(error.errors)
            else:
                if isinstance(found, RebuildProgress):
                    whole.rebuilt += found.rebuilt
                    whole.passed_over += found.passed_over
                    whole.newest = found.newest or whole.newest
                else:
                    whole.rebuilt += found
            yield whole
        if whole.not_rebuilt:
            raise NotRefreshed(name, whole.rebuilt, whole.not_rebuilt, whole.errors)

    # How it is

    def health(self) -> Health:
        self._refuse_closed()
        if self._is_reading:
            # It says so.
            return self._parts[0].health()
        found: dict[int, Health] = {}
        problems: list[HealthProblem] = []
        for number, part in enumerate(self._parts):
            if part.is_elsewhere:
                # Its node has a health of its own, and `procession nodes` says who that is.
                continue
            try:
                self._refuse_down(number)
                found[number] = part.health()
            except PartitionDown as error:
                problems.append(down(number, str(error)))
        if not found:
            why = problems[0].detail if problems else "this node runs none"
            raise PartitionDown(f"no partition answers: {why}")
        return replace(
            together(found, problems),
            control=None if self._listener is None else self._listener.socket,
            control_problem="" if self._listener is None else self._listener.problem,
            page=None if self._page is None else self._page.url,
            page_problem="" if self._page is None else self._page.problem,
        )

    def _refuse_down(self, number: int) -> None:
        """Refuse to wait for a process that is started again."""
        if self._children is not None:
            self._children.refuse_down(number)

    def partitions(self) -> list[PartitionState]:
        self._refuse_closed()
        processes = {} if self._is_reading else self.processes
        return states_of([part.store for part in self._parts], self._parts, processes)

    # The files

    def backup(self, target: str | os.PathLike[str]) -> None:
        self._refuse_closed()
        now, divided = self._now(), self._divided
        if not isinstance(divided, DividedStore):
            raise StoreError(
                f"the divided store at {divided.place} is in a database; back the database up with "
                f"its own tools, such as pg_basebackup or pg_dump"
            )
        stores = [part.store for part in self._parts]
        uninterrupted(lambda: backup_divided(divided, stores, target), "procession-backup")
        if not self._is_reading:
            for part in self._parts:
                part.note_backup(now, target)

    def verify(self) -> list[StoreFinding]:
        self._refuse_closed()
        return [
            one._replace(problem=f"in partition {number}: {one.problem}")
            for number, part in enumerate(self._parts)
            for one in part.verify()
        ] + verify_lanes([part.store for part in self._parts])

    def stats(self) -> dict[str, int]:
        self._refuse_closed()
        total = Counter[str]()
        for number, part in enumerate(self._parts):
            self._refuse_down(number)
            total.update(part.stats())
        return dict(total)

    def close(self, *, timeout: float | None = 30.0) -> None:
        if Dispatcher.is_any_worker():
            raise WaitingInHandler(refusal_in_handler("close"))
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            # First, so that what a client asked for is still done.
            for listener in (self._page, self._listener):
                if listener is not None:
                    listener.close()
            if self._watch is not None:
                self._watch.close()
            if self._share is not None:
                self._share.close(timeout=timeout)
                return
            try:
                if self._children is not None:
                    self._children.close(timeout=timeout)
            finally:
                for part in self._parts:
                    part.close(timeout=timeout)

    @property
    def partition_runtimes(self) -> list[Runtime]:
        return list(self._parts)

    @property
    def is_read_only(self) -> bool:
        return self._is_reading


def _grouped(
    messages: Sequence[M], where: Callable[[M], PartitionRuntime]
) -> list[tuple[PartitionRuntime, list[int], list[M]]]:
    """Each partition with the places of its messages, and these."""
    groups: dict[PartitionRuntime, list[int]] = {}
    for place, message in enumerate(messages):
        groups.setdefault(where(message), []).append(place)
    return [(part, places, [messages[one] for one in places]) for part, places in groups.items()]


def _written(writing: list[_Writing], before: int) -> list[IdReused]:
    """Wait for what partitions write; returns why some of it was not, with places in the whole.

    Args:
        writing: of each partition, what to wait for, and the places in this page
        before: what came before this page

    """
    reused: list[IdReused] = []
    for receipts, places in writing:
        receipts.wait()
        reused += placed(receipts.reused, [before + place for place in places])
    return sorted(reused, key=lambda one: one.places)


def _settled(
    path: str | os.PathLike[str], partitions: int | None, codec: PayloadCodec | None
) -> Divided:
    if partitions is not None:
        return make_divided_store(path, partitions, codec=codec)
    found = divided_store(path)
    if found is None:
        raise StoreError(f"{path} holds no divided store; say how many partitions it is to have")
    return make_divided_store(path, found.count, codec=codec)


def _stream_of(definition: AggregateDefinition, name: object) -> str:
    return f"{definition.category}-{id_of(name, f'for {definition.cls.__name__}')}"


def _refuse_unsendable(options: dict[str, Any]) -> None:
    """What cannot go along to other processes."""
    for name in ("clock", "tracer_provider"):
        if name in options and not isinstance(options[name], SystemClock):
            raise ValueError(
                f"{name}=…: each process that runs partitions has its own; leave it out, or have "
                f"this process run all of them with processes=1"
            )
    try:
        ForkingPickler.dumps(options.get("codec"))
    except Exception as error:
        raise ValueError(
            f"codec=…: it goes along to the processes that run partitions, and cannot be pickled: "
            f"{error}; give its class a `__reduce__`"
        ) from error


def _added(one: Counts, other: Counts) -> Counts:
    parked = Counter(one.parked)
    parked.update(other.parked)
    return Counts(
        running=one.running + other.running,
        complete=one.complete + other.complete,
        suspended=one.suspended + other.suspended,
        parked=dict(parked),
    )
