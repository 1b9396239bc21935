"""The operator of a simulated runtime, whose decisions are carried out while the operator waits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ...engine.admin import Admin
from ...engine.erasing import Erasing
from ...store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...authoring.process_manager import ProcessManager
    from ...core.stimuli import Amend, End
    from ...model.process_definition import ProcessDefinition
    from .running import Running
    from .world import World

__all__ = ["Operator"]


class Operator:
    """Decides about what was parked, about timeouts, and about whole instances."""

    def __init__(self, world: World) -> None:
        self._world = world

    def retry(self, number: int, by: str | None) -> None:
        """Have what was parked handled, then what waited behind it, in order."""
        part, place = self._world.of_parked(number)
        self._wait_for(part, partial(Admin.retry, number=place, by=by))

    def skip(self, number: int, by: str | None) -> None:
        """Have the instance go on without what was parked."""
        part, place = self._world.of_parked(number)
        self._wait_for(part, partial(Admin.skip, number=place, by=by))

    def adjust(
        self, cls: type[ProcessManager], name: object, timeout: str, due: int, by: str | None
    ) -> bool:
        """Move what is due to another time, or cancel it with 0; False if it is not set."""
        part, definition, instance = self._found(cls, name)
        return bool(
            self._wait_for(
                part,
                lambda admin: admin.adjust(definition, instance, timeout, due, by),
                gives_turns=True,
            )
        )

    def end(self, cls: type[ProcessManager], name: object, end: End) -> int:
        """End an instance; returns the version that it has then."""
        part, definition, instance = self._found(cls, name)
        return int(
            self._wait_for(
                part, lambda admin: admin.end(definition, instance, end), gives_turns=True
            )
        )

    def amend(self, cls: type[ProcessManager], name: object, amend: Amend) -> int:
        """Give fields of an instance other values; returns the version that it has then."""
        part, definition, instance = self._found(cls, name)
        return int(
            self._wait_for(
                part, lambda admin: admin.amend(definition, instance, amend), gives_turns=True
            )
        )

    def _found(
        self, cls: type[ProcessManager], name: object
    ) -> tuple[Running | None, ProcessDefinition, str]:
        """What runs an instance, with the definition that it has there, and the instance's id."""
        definition = self._world.registry.process(cls)
        instance = definition.id_of(name)
        part = self._world.of_instance(definition, instance)
        there = None if part is None else part.registry.process_named(definition.name)
        return part, there or definition, instance

    def erase(self, cls: type[ProcessManager], name: object, by: str | None) -> None:
        """Erase what is kept of an instance."""
        part, definition, instance = self._found(cls, name)
        self._wait_for(
            part,
            lambda _: erasing_of(part).instance(definition, instance, by),
            gives_turns=True,
        )

    def erase_stream(self, stream: str, by: str | None) -> None:
        """Erase what the events of a stream say."""
        part = self._world.of_stream(stream)
        self._wait_for(part, lambda _: erasing_of(part).stream(stream, by), gives_turns=True)

    def _wait_for(
        self, part: Running | None, decision: Callable[[Admin], Any], *, gives_turns: bool = False
    ) -> Any:
        """Carry out a decision.

        Args:
            part: that carries it out
            decision: what the operator has the engine do
            gives_turns: whether actors must have turns for it; otherwise a commit is enough

        """
        if part is None:
            raise StoreError("no node that could carry it out has the partition now; ask again")
        scheduler, journal = part.scheduler, part.engine.journal

        def drive() -> None:
            # A commit that fails nudges, too, and is to come to its end first.
            scheduler.drive = None
            try:
                while has_driven():
                    pass
            finally:
                scheduler.drive = drive

        def has_driven() -> bool:
            # A commit that failed hands in again what it held, and the one who closed it goes on.
            if journal.is_committing:
                return False
            # What the operator writes comes through the intake.
            if gives_turns and scheduler.ready:
                scheduler.give_turn(scheduler.ready[0])
            elif journal.intake.works:
                scheduler.give_turn(journal.intake)
            elif journal.has_work:
                scheduler.idle()
            else:
                return False
            return True

        # One operator may decide while another one waits.
        before, scheduler.drive = scheduler.drive, drive
        try:
            return decision(Admin(part.engine, part.store))
        finally:
            scheduler.drive = before
            self._world.has_changed = True


def erasing_of(part: Running | None) -> Erasing:
    """What erases in a partition that something runs."""
    assert part is not None
    return Erasing(part.engine, part.store)
