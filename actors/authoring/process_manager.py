"""What people subclass to coordinate a process: no thread, no store, a plain object."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from msgspec import Struct

from ..clock import LATEST, to_micros
from ..errors import DefinitionError, InvalidMessage, shown
from ..messages.codec import dump
from ..messages.types import Command
from ..store import command_id_at, effect_command_id_at
from .cause import Cause
from .context import Context
from .decorators import handlers_of, note_options, refuse_keywords
from .marks import refuse_lost_marks
from .state import StateType, described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .decorators import Correlate
    from .retry import Decision, Retry

__all__ = [
    "DECIDES_ONLY",
    "EFFECT_IS_OVER",
    "IS_A_COPY",
    "LONGEST_NAME",
    "STEP_IS_OVER",
    "ProcessManager",
    "SkippedWhileRefreshing",
    "UnitOfWork",
    "check_stored_name",
    "due_time",
    "listed",
    "seal",
    "sealed_copy",
    "state_type_of",
]


M = TypeVar("M", bound="ProcessManager")

LONGEST_NAME = 100
"""Bytes of a process manager's name, which is part of its instances' keys."""

_NAME = re.compile(r"\w+\.\w+")


class SkippedWhileRefreshing(Exception):
    """Leaves a handler; raised by `skip_refreshing`."""


STEP_IS_OVER = (
    "came after the step had ended, from a timer, a task or a thread that the handler left behind, "
    "so it would be lost; do it in a handler, and have an event bring what is waited for"
)
DECIDES_ONLY = (
    "came in on_error, which only says what becomes of an error: what it does to the instance "
    "would be lost. Do it in a handler, for example of a timeout that was set before"
)
IN_EFFECT = (
    "came in an @after method, which runs when the step is on disk already, so it would be lost. "
    "Do it in a @handle method; or issue a command here, whose event a @handle method takes"
)
EFFECT_IS_OVER = (
    "came after the @after method had returned or failed, from a timer, a task or a thread that it "
    "left behind, so it would be lost; do it before the method returns"
)
IS_A_COPY = (
    "came on what `view.copy` returned, which shows how the instance is and changes nothing; send "
    "a command, or publish an event"
)
AT_ONCE = (
    "with `after` or `at` came in an @after method, whose commands leave at once, since no "
    "transition could hold them back. Issue it in a @handle method, or set a timeout there"
)


class UnitOfWork(Struct, gc=False):
    """What an instance has besides its state: who it is, and what the step in hand made.

    `cause` is what is handled, and `context` is made of it when a handler asks for one. `issued`
    holds commands by id, with what `dump` says and the time they are due, 0 for at once; `timers`
    what is set, by name, with None for what is cancelled. `effect` names the after-effect that
    runs, if one does; `cause` is the event that it acts after. `closed` says why nothing can be
    added, once that is so.
    """

    id: str
    version: int = 0
    name: str = ""
    now: int = 0
    effect: str = ""
    complete: bool = False
    cause: Cause | None = None
    attempt: int = 1
    context: Context | None = None
    issued: list[tuple[str, Command, bytes, Any, int]] = []
    timers: dict[str, int | None] | None = None
    closed: str = ""

    def context_of(self, cause: Cause, *, refreshing: bool = False) -> Context:
        """What the handler of the step in hand may know of its cause."""
        made = cause.context(self.attempt, self.now, refreshing=refreshing)
        # An event that is decided anew may have made no transition of that version.
        return made.at(self.name, self.id, self.version + 1, cause.position)

    def next_command_id(self) -> str:
        """Of the command that is issued next; the same whenever the step, or the effect, is made.

        Those of an effect are told from one another by the event, since its instance may have moved
        on when it runs again.
        """
        if self.effect and self.cause is not None:
            return effect_command_id_at(self.name, self.id, self.cause.position, len(self.issued))
        return command_id_at(self.name, self.id, self.version + 1, len(self.issued))

    def refuse_late(self, call: str) -> None:
        """The step is over, or is one that makes no transition, so nothing could leave with it."""
        if self.closed:
            raise RuntimeError(f"{self.name} {self.id!r}: self.{call} {self.closed}")
        if self.effect:
            raise RuntimeError(f"{self.name}.{self.effect}: self.{call} {IN_EFFECT}")


class ProcessManager:
    """Listens to events, remembers where its process is, and issues commands.

    Its annotated fields are its state; a list, set or mapping as a default is each instance's
    own. Methods marked with `handle`, `timeout` and `rejected` run one at a time for each
    instance.

    Class keywords:
        name: ``<Domain>.<name>``, under which its instances are stored, whatever the class is
            called; without it, the names of the domain and the class. A subclass has its own
        correlate: how an event names its instance: the name of its field, a mapping from the
            field of this class to the event's, a function of the event, or `ALL`
        streams: only events of these categories and aggregate classes
        early: what to do with an event before its start: ``"skip"``, ``"hold"`` it until then, or
            ``"park"`` it
        unmatched: what to do with an event by a learnt key that no instance has yet: ``"hold"`` it
            for who learns the key, ``"skip"`` or ``"park"`` it; held when it is not given
        hold_for: how long it is held; one minute when it is not given. Then it is skipped
        late: what to do with an event for an instance that has ended: ``"skip"`` or ``"park"`` it
        restart: a start event after completion begins a new run
        begin: where it begins in a store to which it is new: at the ``"origin"`` of the log, or
            ``"now"``, or with what was stored at or after a `datetime` with a zone. It must say
            if the store holds events that it handles
        retry: a `Retry` for handlers that fail; without it they are parked at once
        idle_timeout: how long an instance that nothing happens to stays in memory; the runtime's
            own when it is not given
        retention: how long an instance stays in the store when it is complete; then it is pruned,
            with its events that nothing else needs. For ever when it is not given
        stateless: each event is handled once by itself; no start, no correlation, no state
        version: of its fields, from 1; raise it with a method that `upcast` marks when states
            that are stored do not fit any more

    """

    __slots__ = ("_unit",)

    __procession_options__: ClassVar[dict[str, Any]] = {}
    __procession_name__: ClassVar[str | None] = None

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        correlate: Correlate | None = None,
        streams: Iterable[str | type] | None = None,
        early: Literal["skip", "hold", "park"] | None = None,
        unmatched: Literal["skip", "hold", "park"] | None = None,
        hold_for: timedelta | None = None,
        late: Literal["skip", "park"] | None = None,
        restart: bool | None = None,
        begin: Literal["origin", "now"] | datetime | None = None,
        retry: Retry | None = None,
        idle_timeout: timedelta | None = None,
        retention: timedelta | None = None,
        stateless: bool | None = None,
        version: int | None = None,
        **keywords: Any,
    ) -> None:
        given = {
            "correlate": correlate,
            "streams": listed(cls, streams),
            "early": early,
            "unmatched": unmatched,
            "hold_for": hold_for,
            "late": late,
            "restart": restart,
            "begin": begin,
            "retry": retry,
            "idle_timeout": idle_timeout,
            "retention": retention,
            "stateless": stateless,
            "version": version,
        }
        try:
            super().__init_subclass__(**keywords)
        except TypeError:
            refuse_keywords(cls, keywords, ("name", *given))
            raise
        if name is not None:
            check_stored_name(cls, name, "process manager")
        cls.__procession_name__ = name
        note_options(cls, given)
        refuse_lost_marks(cls, ProcessManager)

    def __init__(self, id: str = "", **fields: Any) -> None:  # noqa: A002 - the public word
        state = state_type_of(type(self))
        unknown = fields.keys() - state.fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__qualname__} has no field {min(unknown)!r}")
        self._unit = UnitOfWork(id)
        self.__dict__.update(state.fresh() | fields)

    def __repr__(self) -> str:
        return described(self, self.id, self.version)

    @property
    def id(self) -> str:
        """The correlation id of this instance."""
        return self._unit.id

    @property
    def version(self) -> int:
        """How many transitions this instance had before the step in hand."""
        return self._unit.version

    @property
    def context(self) -> Context:
        """Where the event in hand came from.

        Raises:
            RuntimeError: no event is being handled

        """
        unit = self._unit
        if unit.context is None:
            if unit.cause is None:
                raise RuntimeError("self.context is there only while an event is being handled")
            unit.context = unit.context_of(unit.cause)
        return unit.context

    @property
    def issued(self) -> tuple[Command, ...]:
        """The commands that the step in hand issued so far."""
        return tuple(command for _, command, *_ in self._unit.issued)

    def issue(
        self,
        *commands: Command,
        after: timedelta | None = None,
        at: datetime | None = None,
    ) -> str:
        """Queue commands; they leave once this step is on disk.

        Those of an `@after` method leave once it is on disk that the method has returned: once for
        each event and instance, however often the method runs.

        Args:
            commands: what to ask of aggregates, in this order
            after: how long to hold them back
            at: until when to hold them back, with a zone

        Returns:
            the last command's id, which `cancel` takes while it is held back

        Raises:
            InvalidMessage: a command does not fit its annotations
            ValueError: the time has no zone, or is beyond the year 9999
            RuntimeError: an `@after` method holds it back, or the step is over

        """
        unit = self._unit
        if unit.closed:
            unit.refuse_late("issue(...)")
        due = 0
        if after is not None or at is not None:
            if unit.effect:
                raise RuntimeError(f"{unit.name}.{unit.effect}: self.issue(...) {AT_ONCE}")
            if after is not None and at is not None:
                raise ValueError("issue takes `after` or `at`, not both")
            due = due_time(unit.now, after if after is not None else at)
        command_id = ""
        for command in commands:
            if not isinstance(command, Command):
                raise InvalidMessage(
                    f"issue takes commands, not {shown(command)}; events come from aggregates"
                )
            data, shared = dump(command)
            command_id = unit.next_command_id()
            unit.issued.append((command_id, command, data, shared, due))
        return command_id

    def cancel(self, command_id: str) -> None:
        """Take back a command that is held back; one that has left already stays.

        Args:
            command_id: what `issue` returned

        """
        self._unit.refuse_late("cancel(...)")
        self._set_timer(command_id, None)

    def set_timeout(self, name: str, when: timedelta | datetime) -> None:
        """Have the `timeout(name)` method run once, at or after a time; set again, it moves.

        Args:
            name: of the timeout
            when: a delay from now, or a moment with a zone

        Raises:
            InvalidMessage: no method is marked with this timeout
            ValueError: the time has no zone, or is beyond the year 9999

        """
        self._unit.refuse_late("set_timeout(...)")
        if name not in _timeouts_of(type(self)):
            raise InvalidMessage(
                f"{type(self).__qualname__} has no @timeout({name!r}) method, so nothing would "
                f"happen when it is due; write one"
            )
        self._set_timer(name, due_time(self._unit.now, when))

    def cancel_timeout(self, name: str) -> None:
        """Have that timeout not run; one that is not set is no error."""
        self._unit.refuse_late("cancel_timeout(...)")
        self._set_timer(name, None)

    def mark_as_complete(self) -> None:
        """End this process with the step in hand; later events are skipped."""
        self._unit.refuse_late("mark_as_complete()")
        self._unit.complete = True

    def skip_refreshing(self) -> None:
        """Leave the handler at once if state is being rebuilt."""
        if (self._unit.context or self._unit.cause) and self.context.refreshing:
            raise SkippedWhileRefreshing

    def on_error(self, error: Exception, context: Context) -> Retry | Decision | None:
        """What to do about an error in a handler; override it to decide for yourself.

        Args:
            error: what the handler raised
            context: of the event in hand, with the number of the attempt

        Returns:
            a `Retry`, `SKIP`, `PARK`, or None for the class's own `retry`

        """
        del error, context
        return None

    def _set_timer(self, name: str, due: int | None) -> None:
        unit = self._unit
        if unit.timers is None:
            unit.timers = {}
        # Last, also when it was set before: those due at one moment fire as they were set.
        unit.timers.pop(name, None)
        unit.timers[name] = due


class Sealed:
    """Stands before a process manager's class in an object that takes nothing."""

    __slots__ = ()

    _unit: UnitOfWork

    def __init_subclass__(cls) -> None:
        """Nothing: the class behind it was read and checked."""

    def __setattr__(self, name: str, value: object) -> None:
        self._refuse(f"self.{name} = {shown(value)}")

    def __delattr__(self, name: str) -> None:
        self._refuse(f"del self.{name}")

    def _refuse(self, what: str) -> None:
        unit = self._unit
        where = f"{unit.name}.{unit.effect}" if unit.effect else f"{unit.name} {unit.id!r}"
        raise AttributeError(f"{where}: {what} {unit.closed or IN_EFFECT}")


class _SealedTypes(dict[type, type]):
    def __missing__(self, cls: type) -> type:
        if Sealed in cls.__mro__:
            return cls
        names = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
        # By its own metaclass, if it has one.
        sealed: type = type(cls)(cls.__name__, (Sealed, cls), names)
        self[cls] = sealed
        return sealed


_sealed_types = _SealedTypes()


def seal(process: ProcessManager, why: str = "") -> None:
    """Let an object take nothing any more, since what it is given would be lost.

    Args:
        process: the object of one step
        why: what is said of it from now on; without it, that it runs an after-effect

    """
    unit = process._unit  # noqa: SLF001 - its own
    sealed = _sealed_types[type(process)]
    if type(process) is not sealed:
        process.__class__ = sealed
    unit.closed = why


def sealed_copy(cls: type[M], instance: str, version: int, values: dict[str, Any]) -> M:
    """An object to be looked at, of which the fields are at hand; they are its own from then on.

    Args:
        cls: of the process manager
        instance: its id
        version: how many transitions it had
        values: its fields

    """
    made = cls.__new__(cls)
    made._unit = UnitOfWork(instance, version, cls.__qualname__)  # noqa: SLF001 - its own
    object.__setattr__(made, "__dict__", values)
    seal(made, IS_A_COPY)
    return made


def check_stored_name(cls: type, name: object, kind: str) -> None:
    """Refuse a name that nothing of that kind can be stored under.

    Raises:
        DefinitionError: it has another form, or is too long

    """
    where = f"{cls.__qualname__}: name={shown(name)}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{where} is no name of a {kind}; write it as "
            f'"<Domain>.<name>", such as "Shop.{cls.__name__}"'
        )
    if len(name.encode()) > LONGEST_NAME:
        raise DefinitionError(
            f"{where} has {len(name.encode())} bytes; a name has at most {LONGEST_NAME}, so "
            f"shorten it"
        )


def listed(cls: type, streams: Iterable[str | type] | None) -> tuple[str | type, ...] | None:
    """The streams that a class names.

    Raises:
        DefinitionError: they are no list

    """
    if streams is None:
        return None
    if isinstance(streams, str) or not isinstance(streams, Iterable):
        raise DefinitionError(
            f"{cls.__qualname__}: streams={streams!r}; give a list, such as [{streams!r}]"
        )
    return tuple(streams)


def due_time(now: int, when: timedelta | datetime | None) -> int:
    """When something is due, in microseconds: a delay from `now`, or a moment with a zone."""
    kind = type(when)
    if not issubclass(kind, timedelta | datetime):
        raise TypeError(f"{shown(when)} is no timedelta or datetime")
    if isinstance(when, timedelta):
        due = now + when // timedelta(microseconds=1)
    else:
        assert isinstance(when, datetime)
        if when.utcoffset() is None:
            raise ValueError(f"{when!r} has no time zone; add tzinfo=UTC")
        due = to_micros(when)
    if due > LATEST:
        raise ValueError(f"{when!r} is beyond the year 9999, where times end; give one before")
    # What should have been before 1970 is due at once, like all that is past.
    return max(due, 1)


def _timeouts_of(cls: type[ProcessManager]) -> Mapping[str, Any]:
    found = cls.__dict__.get("__procession_timeouts__")
    if found is None:
        found = handlers_of(cls, ProcessManager, "timeout")
        cls.__procession_timeouts__ = found  # type: ignore[attr-defined]
    return found


_state_types: dict[type, StateType] = {}


def state_type_of(cls: type[ProcessManager]) -> StateType:
    """The fields of a process manager; read once."""
    state = _state_types.get(cls)
    if state is None:
        state = _state_types[cls] = StateType(cls, ProcessManager)
    return state
