"""Waiting for one process to end, or for what its state comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ..errors import ProcessEnded, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..authoring.process_manager import ProcessManager
    from ..engine.event_loops import EventLoops
    from ..engine.services import Services
    from ..model.process_definition import ProcessDefinition
    from ..store.interrupts import Latch
    from .reader import Reader
    from .views import InstanceView

__all__ = ["ProcessWait"]


P = TypeVar("P", bound="ProcessManager")


class ProcessWait(Generic[P]):
    """Of one caller, for one instance.

    Args:
        services: of the engine
        reader: looks at the instance
        definition: of the process manager
        instance: its id
        until: what of a view the caller waits for; without it, that the process has ended

    """

    def __init__(
        self,
        services: Services,
        reader: Reader,
        definition: ProcessDefinition,
        instance: str,
        until: Callable[[InstanceView[P]], object] | None,
    ) -> None:
        self._services = services
        self._reader = reader
        self._definition = definition
        self._instance = instance
        self._until = until
        self.view: InstanceView[P] | None = None
        """The instance when it was last looked at; None if nothing had happened to it."""

    @property
    def loops(self) -> EventLoops:
        """For a caller who waits in one."""
        return self._services.replies.loops

    def looks(self) -> Iterator[Latch]:
        """Look at the instance after each commit that moves it, until it is as the caller waits.

        Yields:
            what opens when it may be another one

        Raises:
            ProcessEnded: it never will be
            ClosedError: the runtime was closed

        """
        services, name = self._services, self._definition.name
        seen: int | None = None
        with services.watches.watching(
            name, self._instance, services.journal, services.replies
        ) as watch:
            while True:
                # First, so that no step falls between the look and the wait.
                latch = watch.renewed()
                for view in self._reader.passed(self._definition, self._instance, seen):
                    self.view, seen = view, view.version
                    if self._is_there(view):
                        return
                last = self.view
                if last is not None and last.is_complete and not self._definition.restart:
                    raise ProcessEnded(name, last.id, last.version, last.state)
                yield latch

    def _is_there(self, view: InstanceView[P]) -> bool:
        return bool(view.is_complete if self._until is None else self._until(view))

    def too_late(self, timeout: float | None) -> TimedOut:
        """The error when time ran out."""
        view = self.view
        what = "has not ended" if self._until is None else "was not as `until` says"
        where = "nothing has happened to it"
        if view is not None:
            where = f"it is {view.status}, at version {view.version}"
            if view.status == "suspended":
                where += ", and parked() says why"
        return TimedOut(
            f"wait: {self._instance!r} of {self._definition.name} {what} within {timeout} seconds; "
            f"{where}"
        )
