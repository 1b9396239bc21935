"""What a simulated run reached: handlers, what went wrong at them, and what came after what."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...authoring.decorators import Handler
    from ...model.registry import Registry
    from .run_log import RunLog

__all__ = ["ACCIDENTS", "HandlerId", "Reached", "handlers_in"]

ACCIDENTS = {
    "fails_before": "a failure before it ran",
    "fails_after": "a failure after it ran",
    "crash_before_commit": "a crash before its commit",
    "crash_after_commit": "a crash after its commit",
}
"""What is to happen at each handler once, by the names of the deviations."""


class HandlerId(NamedTuple):
    """Which handler of which class: its method, the decorator's name, and what it is for."""

    cls: type
    method: str
    role: str
    subject: object

    @classmethod
    def of(cls, owner: type, handler: Handler) -> HandlerId:
        """The id of a class's handler."""
        return cls(owner, handler.name, handler.role, handler.subject)

    @property
    def accidents(self) -> tuple[str, ...]:
        """What may go wrong at it. An after-effect has no commit of its own."""
        return tuple(ACCIDENTS)[: 2 if self.role == "after" else 4]

    def __str__(self) -> str:
        if self.subject is None:
            return f"{self.cls.__name__}.{self.method}"
        what = self.subject.__name__ if isinstance(self.subject, type) else self.subject
        return f"{self.cls.__name__}.{self.method}({what})"


def handlers_in(registry: Registry) -> Iterator[HandlerId]:
    """All handlers of process managers and aggregates that domains have."""
    for process in registry.processes.values():
        for kind in (
            process.handlers,
            process.timeouts,
            process.rejections,
            process.effects,
            process.endings,
        ):
            yield from (HandlerId.of(process.cls, one) for one in kind.values())
    for aggregate in registry.aggregates.values():
        yield from (HandlerId.of(aggregate.cls, one) for one in aggregate.handlers.values())


class Reached:
    """What was reached in one run. Dictionaries, since they keep the order; the values are turns.

    Attributes:
        handlers: that ran, or were made to fail before they ran
        accidents: which of `ACCIDENTS` happened at which handler
        meetings: what happened to an instance, behind what had happened to it, and its outcome

    """

    def __init__(self, log: RunLog) -> None:
        self.handlers: dict[HandlerId, int] = {}
        self.accidents: dict[tuple[HandlerId, str], int] = {}
        self.meetings: dict[tuple[str, str, str, str], int] = {}
        self._log = log
        self._since_commit: dict[HandlerId, None] = {}
        self._last: dict[tuple[str, str], str] = {}

    def beside(self) -> Reached:
        """What one of several parts reaches, noted here as well; its commits are its own."""
        made = Reached(self._log)
        made.handlers, made.accidents = self.handlers, self.accidents
        made.meetings, made._last = self.meetings, self._last
        return made

    def ran(self, handler: HandlerId, accident: str) -> None:
        """Note that a handler's turn came, and how it was made to fail, if it was."""
        self.handlers.setdefault(handler, self._log.turn)
        if accident:
            self.accidents.setdefault((handler, accident), self._log.turn)
        elif handler.role != "after":
            self._since_commit[handler] = None

    def closed(self, accident: str) -> None:
        """Note how a commit ended, for all handlers since the one before."""
        if accident in ACCIDENTS:
            for handler in self._since_commit:
                self.accidents.setdefault((handler, accident), self._log.turn)
        self._since_commit.clear()

    def met(self, process: str, instance: str, what: str, outcome: str) -> None:
        """Note what happened to an instance, and what came of it."""
        # A refusal's reason may have ids in it.
        what = what.partition(" (")[0]
        before = self._last.get((process, instance), "")
        self.meetings.setdefault((process, before, what, outcome), self._log.turn)
        self._last[process, instance] = what
