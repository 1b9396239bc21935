"""What people subclass to decide: takes commands, replies with events. A plain object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from msgspec import Struct

from .decorators import note_options, refuse_keywords
from .marks import refuse_lost_marks
from .state import StateType, described

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["Aggregate", "Own", "copy_of_aggregate", "state_type_of"]

A = TypeVar("A", bound="Aggregate")


class Own(Struct, gc=False):
    """What an aggregate has besides its state.

    `snapshot` is the version of the newest snapshot that fits the class, `snapshot_size` its bytes,
    and `weight` those of the events since.
    """

    id: str
    version: int = 0
    snapshot: int = 0
    snapshot_size: int = 0
    weight: int = 0
    applying: bool = False


class Aggregate:
    """Takes commands, decides, and replies with events; the only writer of its stream.

    `@handle(Cmd)` methods return an event, several, or None, or yield them; a yielded event is
    applied before the next line runs, and what such a method returns comes last.
    `raise Rejected(reason)` refuses the command. `@apply(Evt)` methods change the state, and
    nothing else does: an aggregate's state comes from its events.

    Class keywords:
        identity: the field of its commands that names the aggregate
        category: the part of its stream's name before the id; the class's name in snake case
            when it is not given
        snapshot_every: how many events come between two snapshots, which keep loading short;
            0 makes none
        retention: how long the events of an aggregate stay in the store after the newest of them;
            then it is pruned, and a later command is for a new one. For ever when it is not given

    """

    __slots__ = ("_own",)

    _own: Own

    __procession_options__: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(
        cls,
        *,
        identity: str | None = None,
        category: str | None = None,
        snapshot_every: int | None = None,
        retention: timedelta | None = None,
        **keywords: Any,
    ) -> None:
        given = {
            "identity": identity,
            "category": category,
            "snapshot_every": snapshot_every,
            "retention": retention,
        }
        try:
            super().__init_subclass__(**keywords)
        except TypeError:
            refuse_keywords(cls, keywords, given)
            raise
        note_options(cls, given)
        refuse_lost_marks(cls, Aggregate)

    def __init__(self, id: str = "") -> None:  # noqa: A002 - the public word
        object.__setattr__(self, "_own", Own(id))
        self.__dict__.update(state_type_of(type(self)).fresh())

    @property
    def id(self) -> str:
        """What names this aggregate within its category."""
        return self._own.id

    @property
    def version(self) -> int:
        """How many events this aggregate has made."""
        return self._own.version

    def __repr__(self) -> str:
        return described(self, self.id, self.version)

    def __setattr__(self, name: str, value: Any) -> None:
        if not self._own.applying:
            raise AttributeError(
                f"{type(self).__qualname__}.{name} was assigned outside @apply; make an event and "
                f"assign it in the event's @apply method, or it would be lost"
            )
        self.__dict__[name] = value


def copy_of_aggregate(cls: type[A], name: str, version: int, values: dict[str, Any]) -> A:
    """An object to be looked at, of which the fields are at hand; they are its own from then on.

    Args:
        cls: of the aggregate
        name: its id
        version: how many events it has made
        values: its fields

    """
    made = cls.__new__(cls)
    object.__setattr__(made, "_own", Own(name, version))
    made.__dict__.update(values)
    return made


_state_types: dict[type, StateType] = {}


def state_type_of(cls: type[Aggregate]) -> StateType:
    """The fields of an aggregate; read once."""
    state = _state_types.get(cls)
    if state is None:
        state = _state_types[cls] = StateType(cls, Aggregate)
    return state
