"""What the runtime shows of what is stored. Views are copies: changing one changes nothing."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Self, TypeVar

from ..authoring.aggregate import Aggregate, copy_of_aggregate
from ..authoring.process_manager import ProcessManager, sealed_copy
from ..errors import InvalidMessage, Pruned, UnreadableRecord, shown
from ..messages.personal import masked
from ..messages.plain import as_json, refuse_other
from .plain_views import html_of, plain_of, revived

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    import typing_extensions

    from ..messages.types import Command, Event, Message

    T_co = typing_extensions.TypeVar("T_co", covariant=True, default=Any)
else:
    T_co = TypeVar("T_co", covariant=True)

__all__ = [
    "AggregateView",
    "Counts",
    "Erasure",
    "InstanceTransition",
    "InstanceView",
    "Listed",
    "Moment",
    "Parked",
    "ParkedKind",
    "PartitionState",
    "StoredEvent",
    "Timeout",
    "Transition",
    "View",
    "error_of",
]


class Listed:
    """One of a listing, which goes on where one cannot be read.

    That one says so by `error`, and has what is known of it; all else raises `UnreadableRecord`
    when it is asked for, so that no reader takes it for the truth.
    """

    __slots__ = ()

    _personal: Collection[str] = ()
    """The fields of its state that are marked as personal."""

    if not TYPE_CHECKING:  # for a type checker, every attribute would be there

        def __getattr__(self, name: str) -> object:
            # Python asks here for what was not set.
            if name in self.__dataclass_fields__:
                raise UnreadableRecord(f"{self!r} has no {name}, since it cannot be read")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def unread(cls, error: BaseException, **known: object) -> Self:
        """In the place of one that cannot be read.

        Args:
            error: why
            known: of its attributes

        """
        made = object.__new__(cls)
        for name, value in (known | {"error": error_of(error)}).items():
            object.__setattr__(made, name, value)
        return made

    def known(self) -> dict[str, object]:
        """What could be read, by name: all of it where there is no error."""
        found: dict[str, object] = {}
        for one in fields(self):  # type: ignore[arg-type] # all that derive from it are dataclasses
            if one.compare:
                with suppress(AttributeError):
                    found[one.name] = object.__getattribute__(self, one.name)
        return found

    def masked(self) -> dict[str, object]:
        """As `known`, with the fields of the state masked that are marked as personal."""
        found = self.known()
        state = found.get("state")
        if isinstance(state, dict):
            found["state"] = masked(state, self._personal)
        return found

    def to_dict(self, *, personal: bool = False) -> dict[str, Any]:
        """What could be read, by name, as JSON has it; commands with their type.

        Args:
            personal: whether with what is marked as `Personal`, which is masked otherwise and then
                cannot be read back

        """
        found = self.known() if personal else self.masked()
        return {name: plain_of(value, personal=personal) for name, value in found.items()}

    def to_json(self, *, personal: bool = False) -> str:
        """As `to_dict`, as JSON."""
        return as_json(self.to_dict(personal=personal))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *messages: type[Message]) -> Self:
        """What `to_dict` told, as far as it can be read back without the store.

        Args:
            values: what it told; a state stays plain
            messages: the classes that events and commands in it are read as, by their types; one
                that has no class here is an `UnknownEvent` or an `UnknownCommand`

        Raises:
            InvalidMessage: something is missing, or does not fit

        """
        name = cls.__name__
        refuse_other(values, name)
        made = object.__new__(cls)
        for one in fields(cls):  # type: ignore[arg-type] # as above
            if one.name in values and one.compare:
                value = revived(one.name, values, messages)
            elif one.default is not MISSING:
                value = one.default
            elif one.default_factory is not MISSING:
                value = one.default_factory()
            elif values.get("error") is not None:
                continue
            else:
                raise InvalidMessage(f"{name}: {one.name} is missing in {shown(values)}")
            object.__setattr__(made, one.name, value)
        return made

    def _repr_html_(self) -> str:
        """For notebooks; what is marked as personal is masked."""
        return html_of(type(self).__name__, self.masked())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.known() == other.known()

    __hash__ = None  # type: ignore[assignment] # states and headers have none

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value!r}" for name, value in self.known().items())
        return f"{type(self).__name__}({known})"


def error_of(error: BaseException) -> str:
    """An exception's type and text."""
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class View(Listed, Generic[T_co]):
    """An instance or an aggregate as it is on disk; `View[Fulfilment]` is of that class.

    Attributes:
        id: what names it
        state: its fields
        version: how many transitions it had, or events it made

    """

    id: str
    state: dict[str, Any]
    version: int
    _cls: type[T_co] | None = field(default=None, kw_only=True, compare=False)
    _personal: Collection[str] = field(default=(), kw_only=True, compare=False)

    def known(self) -> dict[str, object]:
        # Not `super()`, which a class with slots that was made anew does not find.
        found = Listed.known(self)
        for name in ("pruned_at", "is_pruned"):
            # Said of what was pruned only.
            if not found.get(name, True):
                del found[name]
        return found

    @property
    def copy(self) -> T_co:
        """An object of the class with this state, for its attributes, properties and methods.

        It is another one each time, and sealed: what one would have it do, it refuses.

        Raises:
            UnreadableRecord: it cannot be read; or the view was made by `from_dict`
            Pruned: it was pruned

        """
        if getattr(self, "pruned_at", None) or getattr(self, "is_pruned", False):
            raise Pruned(f"{self.id!r} was pruned, and its state is gone; an archive may have it")
        state, cls = deepcopy(self.state), self._cls
        if cls is None:
            raise UnreadableRecord(
                f"{self!r} was made by from_dict, without its class, so there can be no copy of "
                f"it; get it from a runtime"
            )
        if issubclass(cls, ProcessManager):
            return sealed_copy(cls, self.id, self.version, state)
        assert issubclass(cls, Aggregate)
        return copy_of_aggregate(cls, self.id, self.version, state)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class InstanceView(View[T_co]):
    """A process instance as its newest transition left it.

    Attributes:
        id: its correlation id
        state: its fields
        version: how many transitions it had
        is_complete: whether the process has ended
        status: ``"suspended"`` while something is parked and the rest waits behind it, but not
            while what failed is to be tried again by itself
        error: why it cannot be read, if so; its id is known, and the rest as far as it could be
            read
        pruned_at: when it was pruned, if it was; then its state is empty, and it was complete

    """

    is_complete: bool
    status: Literal["running", "complete", "suspended"]
    error: str | None = None
    pruned_at: datetime | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Moment(View[T_co]):
    """A process instance as one of its transitions left it, with what it knew by then.

    Attributes:
        id: its correlation id
        state: its fields
        version: of the transition
        is_complete: whether the process had ended
        time: when the transition was made
        handler: the method that made it
        cause: the id of what it handled: an event, ``timeout:<name>`` or a refused command
        issued: the commands that it issued
        timeouts: what was due later, by name, with its time
        events: what it knew: the events that it had handled by then, in that order; the last of
            them made the transition, if an event did

    """

    is_complete: bool
    time: datetime
    handler: str
    cause: str
    issued: tuple[Command, ...]
    timeouts: dict[str, datetime]
    events: tuple[StoredEvent, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AggregateView(View[T_co]):
    """An aggregate as its events left it.

    Attributes:
        id: what names it within its category
        state: its fields
        version: how many events it made
        is_pruned: whether all of these were pruned; then its state is empty

    """

    is_pruned: bool = False


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Erasure(Listed):
    """Something that was erased; nothing of what it said is in this.

    Attributes:
        kind: ``"instance"``, ``"stream"`` or ``"subject"``
        process: the process manager's name, of an instance; empty otherwise
        id: the instance, the stream, or whose data it was
        time: when
        by: who asked, if that was said

    """

    kind: Literal["instance", "stream", "subject"]
    process: str
    id: str
    time: datetime
    by: str | None = None


class ParkedKind(NamedTuple):
    """What is counted together of what is parked.

    Attributes:
        error: the type of the error, as `Parked.error` begins with it
        handler: the method that failed; empty if none did, as of a command at its aggregate
        place: where in the code it was raised, as ``"/app/shop.py:42 in reserve"``; empty if that
            was in none of the user's

    """

    error: str
    handler: str
    place: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many instances a process manager has, and what is parked of it.

    Attributes:
        running: by status, as of `InstanceView`; each instance has one of the three
        complete: those that have ended
        suspended: those that take nothing until an operator decides
        parked: how many things wait for an operator, by kind

    """

    running: int = 0
    complete: int = 0
    suspended: int = 0
    parked: dict[ParkedKind, int] = field(default_factory=dict)

    @property
    def instances(self) -> int:
        """How many there are, whatever their status."""
        return self.running + self.complete + self.suspended


@dataclass(frozen=True, slots=True)
class PartitionState:
    """How one partition is.

    Attributes:
        number: which one
        process: the id of the process that runs it; None if it is only read here
        events: how many its log has, copies from other partitions among them
        backlog: how many of these the slowest of its process managers is not done with
        lane_backlog: how many messages other partitions have for it that it has not taken
        oldest_waiting: when the oldest event of its backlog was stored; None without one

    """

    number: int
    process: int | None
    events: int
    backlog: int
    lane_backlog: int
    oldest_waiting: datetime | None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Transition(Listed):
    """What one event did to one instance.

    Attributes:
        version: 1 for the first of the instance
        handler: the method's name
        state: the fields after it
        is_complete: whether the process ended with it
        cause: the id of the event
        commands: what it issued
        time: when it was made
        correlation_id: the id that everything in its chain shares
        note: the reason of a refusal, or what an operator changed and who asked
        by: who asked for it, if an operator did and that was said
        error: why it cannot be read, if so; its version is known, and the rest as far as it could
            be read

    """

    version: int
    handler: str
    state: dict[str, Any]
    is_complete: bool
    cause: str
    commands: tuple[Command, ...]
    time: datetime
    correlation_id: str
    note: str | None = None
    by: str | None = None
    error: str | None = None
    _personal: Collection[str] = field(default=(), kw_only=True, compare=False)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class InstanceTransition(Transition):
    """A transition, and whose it is.

    Attributes:
        process: the process manager's name
        instance: the instance's id
        partition: of a divided store, the one that the instance is in

    """

    process: str = field(kw_only=True)
    instance: str = field(kw_only=True)
    partition: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StoredEvent(Listed):
    """An event, and where it is.

    Attributes:
        event: the event itself; an `UnknownEvent` if its class is not here
        event_id: its id
        type: its wire name
        stream: its stream
        version: its place in the stream, from 1
        position: its place in the global log, from 1
        time: when it was stored
        correlation_id: the id that everything in its chain shares
        causation_id: the id of the command or event that caused it, if one did
        headers: what its publisher said about it
        error: why it cannot be read, if so; its position is known (in a stream its version), and
            the rest as far as it could be read
        partition: of a divided store, whose log has it at that position

    """

    event: Event
    event_id: str
    type: str
    stream: str
    version: int
    position: int
    time: datetime
    correlation_id: str
    causation_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    partition: int = 0


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Parked(Listed):
    """What could not be handled, and waits for a person, or was decided by one.

    Attributes:
        id: what `retry` and `skip` take
        process: the process manager's name; empty for a command from outside
        instance: whose step it would have been; empty if the event could not be correlated
        cause: the id of the event or command, or ``timeout:<name>``
        error: the exception's type and text; or why this record cannot be read, and then nothing is
            known but its id
        attempts: how often it was tried
        time: when it was parked
        handler: the method that failed; empty if none did
        place: where in the code the error was raised; empty if that was in none of the user's
        decision: ``"retry"``, ``"skip"`` or ``"end"``, once an operator decided
        decided_at: when
        decided_by: who asked, if that was said

    """

    id: int
    process: str
    instance: str
    cause: str
    error: str
    attempts: int
    time: datetime
    handler: str = ""
    place: str = ""
    decision: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Timeout(Listed):
    """Something that is due later: a timeout, another attempt, or a command that is held back.

    Attributes:
        process: the process manager's name
        instance: whose it is
        name: of the timeout, ``"retry"``, or the command's id
        kind: ``"timeout"``, ``"retry"`` or ``"command"``
        due: when
        command: the command that is held back
        error: why it cannot be read, if so; when it is due is known, and the rest as far as it
            could be read

    """

    process: str
    instance: str
    name: str
    kind: str
    due: datetime
    command: Command | None = None
    error: str | None = None
