"""What one instance is between two steps: a plain value that decisions take and give."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..authoring.state import Keys
from ..errors import Erased
from ..store import Block, PackedFields

if TYPE_CHECKING:
    from ..authoring.process_manager import ProcessManager
    from ..model.process_definition import ProcessDefinition
    from ..store import TransitionRecord

__all__ = ["ProcessState"]


class ProcessState(Struct, gc=False):
    """One instance. It is never changed: a decision makes another one.

    Attributes:
        instance: its id
        version: of its newest transition, 0 before the first
        seen: the highest position that the instance has handled or put aside
        is_complete: whether the newest transition ended the process
        fields: of the process manager, packed
        fields_version: of the class that packed them
        timers: what is due later, by name, with its time in microseconds
        indexed: the learnt keys as the index has them
        correlation_id: of the newest transition; what a timeout makes belongs to the same chain
        block: why the instance takes no events, if it does not
        to_take_up: how many events that waited in the store come before any other
        holds_early: whether events that came before the start are kept in the store
        run: the version at which the instance started, or started anew, for the last time
        values: the fields as they were read back, of which the next step makes its object; None
            when they are to be read anew
        base: the version whose state is stored whole, if the newest is stored as a change
        weight: bytes of the changes since that one
        packed: the fields one by one, of a large state that is at hand

    """

    instance: str
    version: int = 0
    seen: int = 0
    is_complete: bool = False
    fields: bytes = b""
    fields_version: int = 1
    timers: dict[str, int] | None = None
    indexed: Keys | None = None
    correlation_id: str = ""
    block: Block | None = None
    to_take_up: int = 0
    holds_early: bool = False
    run: int = 1
    values: dict[str, Any] | None = None
    base: int = 0
    weight: int = 0
    packed: PackedFields | None = None

    @classmethod
    def after(
        cls, definition: ProcessDefinition, instance: str, last: TransitionRecord | None
    ) -> ProcessState:
        """The instance as its newest transition left it; one that was never started without any.

        Raises:
            InvalidMessage: the stored fields do not fit the class, and it has learnt keys

        """
        if last is None:
            return cls(instance)
        indexed = None
        if definition.state.indexed and last.state_version == definition.state_version:
            # Of another version, the index has other fields; the next step adds today's.
            with suppress(Erased):
                indexed = definition.state.keys_of(definition.state.load(last.state))
        return cls(
            instance,
            last.version,
            last.seen,
            last.is_complete,
            last.state,
            last.state_version,
            last.timers,
            indexed,
            last.correlation_id,
            run=last.run,
            base=last.base,
            weight=last.weight,
        )

    def restore(self, definition: ProcessDefinition) -> ProcessManager:
        """An object for one step.

        Raises:
            UnknownMessage: nothing turns fields of that version into today's
            InvalidMessage: the fields do not fit the class

        """
        if self.values is not None:
            # The step may change them: if it comes to nothing, they are read anew.
            return definition.made_of(self.instance, self.version, self.values)
        return definition.restore(self.instance, self.version, self.fields, self.fields_version)
