"""What people subclass to coordinate a process: no thread, no store, a plain object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from store import check_name

from .codec import dump
from .context import Context
from .errors import DefinitionError, InvalidMessage
from .handlers import Correlate, Handler, handlers_of, methods_of
from .messages import Command, Event
from .names import id_of
from .references import classes_named_in
from .state import StateType

if TYPE_CHECKING:
    from datetime import timedelta

    from store import EventRecord

__all__ = ["ProcessDefinition", "ProcessManager"]


class ProcessManager:
    """Listens to events, remembers where its process is, and issues commands.

    Its annotated fields are its state; a list, set or mapping as a default is each instance's
    own. Methods marked with `handle` run one at a time for each instance.

    Class keywords:
        correlate: how an event names its instance: the name of its field, a mapping from the
            field of this class to the event's, or a function of the event
        idle_timeout: how long an instance that nothing happens to stays in memory; the runtime's
            own when it is not given

    """

    __slots__ = ("_commands", "_complete", "_event", "_id", "_version")

    __procession_options__: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(
        cls,
        *,
        correlate: Correlate | None = None,
        idle_timeout: timedelta | None = None,
        **keywords: Any,
    ) -> None:
        super().__init_subclass__(**keywords)
        given = {"correlate": correlate, "idle_timeout": idle_timeout}
        cls.__procession_options__ = cls.__procession_options__ | {
            name: value for name, value in given.items() if value is not None
        }

    def __init__(self, id: str = "", **fields: Any) -> None:  # noqa: A002 - the public word
        state = _state_type(type(self))
        unknown = fields.keys() - state.fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__qualname__} has no field {min(unknown)!r}")
        self._id = id
        self._version = 0
        self._complete = False
        self._event: EventRecord | Context | None = None
        self._commands: list[tuple[Command, bytes]] = []
        self.__dict__.update(state.fresh() | fields)

    @property
    def id(self) -> str:
        """The correlation id of this instance."""
        return self._id

    @property
    def version(self) -> int:
        """How many transitions this instance had before the step in hand."""
        return self._version

    @property
    def context(self) -> Context:
        """Where the event in hand came from.

        Raises:
            RuntimeError: no event is being handled

        """
        event = self._event
        if event is None:
            raise RuntimeError("self.context is there only while an event is being handled")
        if not isinstance(event, Context):
            event = self._event = Context.of(event)
        return event

    def issue(self, *commands: Command) -> None:
        """Queue commands; they leave once this step is on disk.

        Args:
            commands: what to ask of aggregates, in this order

        Raises:
            InvalidMessage: a command does not fit its annotations

        """
        for command in commands:
            if not isinstance(command, Command):
                raise InvalidMessage(
                    f"issue takes commands, not {command!r}; events come from aggregates"
                )
            self._commands.append((command, dump(command)))

    def mark_as_complete(self) -> None:
        """End this process with the step in hand; later events are skipped."""
        self._complete = True


_state_types: dict[type, StateType] = {}


def _state_type(cls: type[ProcessManager]) -> StateType:
    state = _state_types.get(cls)
    if state is None:
        state = _state_types[cls] = StateType(cls, ProcessManager)
    return state


class ProcessDefinition:
    """A process manager class, read once and checked.

    Args:
        cls: the class
        domain: the name of the domain it is registered in

    Raises:
        DefinitionError: it cannot work as it is written

    """

    def __init__(self, cls: type[ProcessManager], domain: str) -> None:
        self.cls = cls
        self.name = f"{domain}.{cls.__name__}"
        self.idle_timeout: timedelta | None = cls.__procession_options__.get("idle_timeout")
        self.state = _state_type(cls)
        self.handlers: dict[type, Handler] = dict(handlers_of(cls, ProcessManager, "handle"))
        check_name("process name", self.name)
        self._check_handlers()
        default = cls.__procession_options__.get("correlate")
        self._correlations = {
            event: _Correlation(self, handler, default) for event, handler in self.handlers.items()
        }
        self.commands = classes_named_in(methods_of(cls, ProcessManager).values(), Command)

    def correlate(self, event: Event) -> list[str]:
        """The ids of the instances that an event is for; each once."""
        return self._correlations[type(event)].ids(event)

    def begin(self, instance: str, event: Event) -> ProcessManager:
        """A new instance, whose field that `correlate` names is set."""
        made = self.cls(instance)
        own, value = self._correlations[type(event)].own_field(event)
        if own in self.state.fields:
            setattr(made, own, value)
        return made

    def restore(self, instance: str, version: int, state: bytes) -> ProcessManager:
        """An instance as its newest transition left it."""
        made = self.cls.__new__(self.cls)
        made._id = instance  # noqa: SLF001 - a friend: it fills what only it may fill
        made._version = version  # noqa: SLF001
        made._complete = False  # noqa: SLF001
        made._event = None  # noqa: SLF001
        made._commands = []  # noqa: SLF001
        made.__dict__.update(self.state.load(state))
        return made

    def _check_handlers(self) -> None:
        where = self.cls.__qualname__
        if not self.handlers:
            raise DefinitionError(
                f"{where} handles nothing; mark a method with @handle(SomeEvent, start=True)"
            )
        for event, handler in self.handlers.items():
            if not issubclass(event, Event):
                raise DefinitionError(
                    f"{where}.{handler.name}: a process manager handles events, and "
                    f"{event.__name__} is a command; handle it in an aggregate"
                )
        if not any(handler.start for handler in self.handlers.values()):
            first = next(iter(self.handlers.values()))
            raise DefinitionError(
                f"{where} has no handler with start=True, so no instance would ever begin; write "
                f"for example `@handle({first.subject.__name__}, start=True)` on {first.name}"
            )
        for name in ("apply",):
            for handler in handlers_of(self.cls, ProcessManager, name).values():
                raise DefinitionError(
                    f"{where}.{handler.name}: @{name} belongs to aggregates; "
                    f"use @handle({handler.subject.__name__}) here"
                )


class _Correlation:
    """How one event class names the instances of one process manager."""

    def __init__(
        self, definition: ProcessDefinition, handler: Handler, default: Correlate | None
    ) -> None:
        self._where = f"{definition.cls.__qualname__}.{handler.name}"
        event = handler.subject
        way = handler.correlate if handler.correlate is not None else default
        self._function: Callable[[Any], Any] | None = None
        self._own = self._field = ""
        if way is None:
            raise DefinitionError(
                f"{self._where}: nothing says which instance a {event.__name__} is for; give "
                f"`correlate=` to the class or to this handler, such as a field of the event"
            )
        if isinstance(way, str):
            self._own = self._field = way
        elif isinstance(way, Mapping):
            if len(way) != 1:
                raise DefinitionError(
                    f"{self._where}: correlate={way!r} must map one field of the process manager "
                    f"to one of the event"
                )
            self._own, self._field = next(iter(way.items()))
            if self._own not in definition.state.fields:
                raise DefinitionError(
                    f"{self._where}: correlate={way!r}, but {definition.cls.__qualname__} has no "
                    f'field {self._own!r}; declare `{self._own}: str = ""`'
                )
        elif callable(way):
            self._function = way
            return
        else:
            raise DefinitionError(
                f"{self._where}: correlate={way!r} is no field name, mapping or function"
            )
        fields = event.__struct_fields__
        if self._field not in fields:
            raise DefinitionError(
                f"{self._where}: correlate={way!r}, but {event.__name__} has no field "
                f"{self._field!r}; it has {', '.join(fields) or 'none'}. Name one of these, or "
                f"give this handler a `correlate=` of its own"
            )

    def ids(self, event: Event) -> list[str]:
        read = self._function
        value = getattr(event, self._field) if read is None else read(event)
        if isinstance(value, str):
            return [id_of(value, self._where)]
        if value is None:
            return []
        if isinstance(value, Iterable) and not isinstance(value, bytes):
            found = [id_of(one, self._where) for one in value if one is not None]
            return list(dict.fromkeys(found))
        return [id_of(value, self._where)]

    def own_field(self, event: Event) -> tuple[str, Any]:
        if self._function is not None:
            return "", None
        return self._own, getattr(event, self._field)
