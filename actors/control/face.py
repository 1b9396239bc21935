"""What the calls work on: a runtime, what its store holds, and the classes that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.projection_checkpoint import projections_in
from ..errors import InvalidMessage, UnknownMessage
from ..messages.personal import MASKED, masked, masked_within
from ..model.beginnings import begun_at
from ..model.completions import category_for
from ..model.diagram import mermaid_of, picture_of
from ..store import Partition, ProcessionError
from .plain import unpacked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..authoring.process_manager import ProcessManager
    from ..authoring.projection import Projection
    from ..engine.projection_feed import ProjectionFeed
    from ..model.diagram import Picture
    from ..model.process_definition import ProcessDefinition
    from ..runtime import Runtime
    from ..store import Store
    from .plain import Plain

__all__ = ["CannotAct", "Face"]


class CannotAct(ProcessionError):
    """The call needs a running service, or the user's classes, and there is none."""


class Face:
    """One store, as a person outside of the service's code sees it.

    Args:
        runtime: of the store; open for reading only, and without any domain, it can be looked at
        partition: which one of a divided store it is, if it is one

    """

    def __init__(self, runtime: Runtime, partition: Partition | None = None) -> None:
        self.runtime = runtime
        self.partition = partition
        parts = runtime.partition_runtimes
        self._parts = [Face(one, Partition(number, len(parts))) for number, one in enumerate(parts)]
        self._registry = runtime._registry  # noqa: SLF001
        self.now = runtime._now  # noqa: SLF001

    @property
    def store(self) -> Store:
        """Of one log: what is stored is readable without classes."""
        return self.runtime._store  # noqa: SLF001

    @property
    def logs(self) -> list[Face]:
        """The same of each log: of each partition, or of the store, which has one."""
        return self._parts or [self]

    @property
    def is_divided(self) -> bool:
        """Whether the store has partitions."""
        return bool(self._parts)

    @property
    def is_running(self) -> bool:
        """Whether this runtime owns the store and runs."""
        return not self.runtime.is_read_only

    @property
    def is_closing(self) -> bool:
        """Whether this runtime is being closed, so that what is followed comes to its end."""
        return self.runtime._is_closed  # noqa: SLF001

    def processes(self) -> list[str]:
        """The names of all process managers that the store or the runtime knows."""
        found = {
            name for log in self.logs for kind, name in log.store.scan_names() if kind == "process"
        }
        return sorted(found | {one.name for one in self._registry.processes.values()})

    def definition(self, process: str) -> ProcessDefinition | None:
        """What is known of a process manager's class; None if it is not here."""
        for one in self._registry.processes.values():
            if one.name == process:
                return one
        return None

    def shown_message(self, kind: str, packed: bytes) -> Any:
        """What a stored event or command says, without what is marked as personal.

        Raises:
            ValueError: it cannot be read

        """
        said = unpacked(packed)
        personal = self._registry.personal_fields(kind)
        return masked(said, personal) if personal and isinstance(said, dict) else said

    def shown_document(self, projection: str, packed: bytes) -> Any:
        """What a document of a projection says, without what is marked as personal."""
        (said,) = unpacked(packed)
        for one in self._registry.projections.values():
            if one.name == projection and one.documents is not None:
                return masked_within(one.documents.kind, said)
        return said

    def shown_state(self, process: str, state: Mapping[str, Any]) -> Plain:
        """The fields of an instance, without what is marked as personal."""
        return masked(state, self._personal_in(process))

    def shown_changes(self, process: str, changes: Plain) -> Plain:
        """What each field was and is, without what is marked as personal."""
        personal = self._personal_in(process)
        return {
            name: [MASKED, MASKED] if name in personal else both for name, both in changes.items()
        }

    def _personal_in(self, process: str) -> Collection[str]:
        definition = self.definition(process)
        return () if definition is None else definition.state.personal.keys()

    def process_names(self) -> dict[type, str]:
        """The names of the process managers whose classes are here."""
        return {one.cls: one.name for one in self._registry.processes.values()}

    def projections(self) -> dict[str, type[Projection]]:
        """The projections whose classes are here, by name."""
        return {one.name: one.cls for one in self._registry.projections.values()}

    def known_projection(self, name: str) -> str:
        """A projection's name, which may be given without its domain, as that of `known`.

        Raises:
            UnknownMessage: there is none of that name, or there are several

        """
        stored = (found for log in self.logs for found in projections_in(log.store))
        return _one_of("projection", name, sorted({*stored, *self.projections()}))

    def projection_feed(self, name: str) -> ProjectionFeed | None:
        """What writes a projection's tables; None where nothing runs, or another process does."""
        engine = self.runtime._running  # noqa: SLF001
        return None if engine is None else engine.projections.feed_of(name)

    def class_of(self, process: str) -> type[ProcessManager]:
        """The class of a process manager.

        Raises:
            UnknownMessage: it is not here

        """
        definition = self.definition(process)
        if definition is None:
            raise UnknownMessage(
                f"the class of {process!r} is in no domain here; "
                f"it has {', '.join(self.processes()) or 'no process manager'}"
            )
        return definition.cls

    def known(self, process: str) -> str:
        """A process manager's name, which may be given without its domain if it is the only one.

        Raises:
            UnknownMessage: there is none of that name, or there are several

        """
        return _one_of("process manager", process, self.processes())

    def done(self, process: str) -> int:
        """The position in one log up to which a process manager is done."""
        if self.definition(process) is None:
            done = self.store.checkpoint(process)
        else:
            done = self.runtime._done(process)  # noqa: SLF001
        return max(done, begun_at(self.store, process) or 0)

    # Where something is

    def log_of(self, process: str, instance: str) -> Face:
        """The log that an instance is in."""
        definition = self.definition(process)
        if definition is not None and definition.stateless:
            for log in self.logs:
                if log.store.last_transition(process, instance) is not None:
                    return log
        return self.log_of_key(instance)

    def log_of_key(self, key: str) -> Face:
        """The log of what has an id; of a learnt key, the one that knows its instances."""
        return self.logs[Partition(0, len(self.logs)).of(key)]

    def log_of_stream(self, stream: str) -> Face:
        """The log that a stream is in."""
        return self.logs[Partition(0, len(self.logs)).of_stream(stream)]

    def whole_number(self, parked: int) -> int:
        """The number under which people know what is parked in one log."""
        own = self.partition
        return parked if own is None else parked * own.count + own.number

    def numbers_behind(self, whole: int) -> int:
        """The number in one log behind which are those that are higher for people."""
        own = self.partition
        return whole if own is None else max(0, (whole - own.number) // own.count)

    # Of a divided store

    def needs_partitions(self, call: str) -> Runtime:
        """The runtime, if it is of a divided store.

        Raises:
            CannotAct: it is not

        """
        if not self.is_divided:
            raise CannotAct(f"{call} needs a divided store, and this one is not divided")
        return self.runtime

    def refuse_position(self, position: int) -> None:
        """Refuse a position that does not say its partition.

        Raises:
            InvalidMessage: the store is divided

        """
        if self.is_divided:
            raise InvalidMessage(
                f"after={position}: each partition of a divided store has positions of its own; "
                f"name a stream, which is in one of them"
            )

    def needs_service(self, call: str) -> Runtime:
        """The runtime, if it runs.

        Raises:
            CannotAct: it is only looked at

        """
        if not self.is_running:
            raise CannotAct(
                f"{call} needs a running service, and none answers for this store; start it"
            )
        return self.runtime

    def needs_classes(self, call: str) -> Runtime:
        """The runtime, if it has the user's classes.

        Raises:
            CannotAct: it has none

        """
        if not self._registry.domains:
            raise CannotAct(
                f"{call} needs the classes, and no service answers for this store; "
                f"give them with --domain MODULE:domain"
            )
        return self.runtime

    def graphs(self) -> dict[str, str]:
        """The design of each domain, drawn."""
        return {
            one.name: mermaid_of(
                one.aggregates.values(),
                one.processes.values(),
                one.messages,
                one.projections.values(),
            )
            for one in self._registry.domains
        }

    def pictures(self) -> dict[str, Picture]:
        """The same as data."""
        return {
            one.name: picture_of(
                one.aggregates.values(),
                one.processes.values(),
                one.messages,
                one.projections.values(),
            )
            for one in self._registry.domains
        }

    def indexed_fields(self) -> list[tuple[str, str]]:
        """Each process manager with each field by which its instances are found, as learnt keys."""
        return [
            (one.name, field)
            for one in self._registry.processes.values()
            for field in one.state.indexed
        ]

    def hint_of(self, process: str, field: str) -> Any:
        """The annotation of a field of a process manager's state.

        Raises:
            InvalidMessage: it has no such field

        """
        definition = self.definition(process)
        fields = {} if definition is None else definition.state.fields
        if field not in fields:
            raise InvalidMessage(
                f"{process} has no field {field!r}; it has {', '.join(fields) or 'none'}"
            )
        return fields[field]

    def event_type(self, process: str, cls: type) -> str:
        """The wire name of an event's class, as one of its process managers hears it."""
        return self._registry.name_of(cls, self.definition(process))

    def name_of(self, cls: type) -> str:
        """The wire name of a message's class."""
        return self._registry.name_of(cls)

    def name_today(self, name: str) -> str:
        """The wire name as which a stored message of that name is read."""
        return self._registry.name_today(name)

    def rejection_of(self, process: str, command: type) -> str | None:
        """The method of a process manager that hears of the refusal of a command."""
        definition = self.definition(process)
        handler = None if definition is None else definition.rejections.get(command)
        return None if handler is None else handler.name

    def category_of(self, cls: type) -> str:
        """The category of an aggregate's streams, or of those that say that instances ended."""
        for one in self._registry.aggregates.values():
            if one.cls is cls:
                return one.category
        return category_for(self.process_names()[cls])

    def is_indexed(self, process: str, field: str) -> bool:
        """Whether instances can be found by a field without looking at all of them."""
        definition = self.definition(process)
        return definition is not None and field in definition.state.indexed


def _one_of(kind: str, name: str, names: list[str]) -> str:
    if name in names:
        return name
    ends = [one for one in names if one.rpartition(".")[2] == name]
    if len(ends) == 1:
        return ends[0]
    raise UnknownMessage(f"there is no {kind} {name!r}; there are: {', '.join(names) or 'none'}")
