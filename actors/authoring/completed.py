"""The event that an instance has ended, for process managers that listen to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from ..errors import DefinitionError, InvalidMessage, UnreadableRecord, shown
from ..messages.types import Event
from .process_manager import ProcessManager, sealed_copy, state_type_of

__all__ = ["Completed"]

P_co = TypeVar("P_co", bound=ProcessManager, covariant=True)

_made: dict[type, Any] = {}


class Completed(Event, Generic[P_co], frozen=True):
    """An instance of a process manager has ended; ``Completed[Fulfilment]`` is of that class.

    The store has such events of a class from when another one handles them: ``@handle(Completed[
    Fulfilment])``. Each is appended in the step that ends the instance.

    Attributes:
        id: of the instance
        state: its fields, as plain values
        handler: the method that ended it; ``"end"`` or ``"ended"`` if an operator did
        version: of the transition that ended it
        is_by_operator: whether an operator ended it
        state_version: the version of the class that wrote the state

    """

    id: str
    state: dict[str, Any] = msgspec.field(default_factory=dict)
    handler: str = ""
    version: int = 1
    is_by_operator: bool = False
    state_version: int = 1

    __process__: ClassVar[type[ProcessManager]]

    @property
    def copy(self) -> P_co:
        """An object of the class with this state; it is sealed, as that of a view.

        Raises:
            UnreadableRecord: another version of the class wrote the state, or it does not fit

        """
        cls: Any = type(self).__process__
        today = cls.__procession_options__.get("version", 1)
        if self.state_version != today:
            raise UnreadableRecord(
                f"{self.id!r} of {cls.__name__} ended with a state of version {self.state_version} "
                f"of its class, which has version {today} now; read its `state`"
            )
        fields = state_type_of(cls)
        try:
            values = fields.load(msgspec.msgpack.encode(self.state))
        except InvalidMessage as error:
            raise UnreadableRecord(f"{self.id!r} of {cls.__name__}: {error}") from error
        made: P_co = sealed_copy(cls, self.id, self.version, {**fields.fresh(), **values})
        return made

    if not TYPE_CHECKING:

        def __class_getitem__(cls, process: Any) -> Any:
            """The event that an instance of a process manager has ended; always the same class."""
            if isinstance(process, TypeVar):
                return super().__class_getitem__(process)
            if not (isinstance(process, type) and issubclass(process, ProcessManager)):
                raise DefinitionError(
                    f"Completed[{shown(process)}]: give a process manager, defined above this line"
                )
            if process not in _made:
                name = f"Completed[{process.__name__}]"
                body = {"__module__": process.__module__, "__qualname__": name}
                made = type(Completed)(name, (Completed,), body, frozen=True)
                made.__process__ = process
                _made[process] = made
            return _made[process]
