"""What an incident capsule holds, once more: in a test, with the classes as they are today."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..capsule import Capsule, Contents, Failure
from ..clock import from_micros
from ..errors import AlreadyDecided, NotRefreshed, UnknownMessage
from ..model.registry import Registry
from ..runtime import Runtime
from .clock import VirtualClock

if TYPE_CHECKING:
    from ..authoring.process_manager import ProcessManager
    from ..model.domain import Domain
    from ..queries.views import Parked
    from ..store import Durability

__all__ = ["Reproduction", "reproduce"]

__tracebackhide__ = True

MOST_ATTEMPTS = 100
"""How often the clock moves on to the next attempt at something."""


@dataclass(frozen=True)
class Reproduction:
    """What came of a capsule with the classes as they are today.

    Attributes:
        process: the process manager
        instance: the id
        failures: what failed, or failed again
        state: of the instance; None if it has none
        is_complete: whether it has ended

    """

    process: str
    instance: str
    failures: list[Failure] = field(default_factory=list)
    state: dict[str, Any] | None = None
    is_complete: bool = False

    def __str__(self) -> str:
        lines = [f"{self.process} {self.instance}: state {self.state}"]
        return "\n".join([*lines, *map(str, self.failures)])


def reproduce(
    capsule: str | os.PathLike[str], *domains: Domain, from_beginning: bool = True
) -> Reproduction:
    """Do again what failed in a capsule, in a runtime of its own that goes with the call.

    The instance's state is made anew first, by all that it handled, so that a mend in an earlier
    handler counts. Then what is parked is tried again, and all settles. The clock begins at the
    newest record of the capsule, and moves for what is tried again. After-effects run, as in every
    test with a runtime: replace what they call.

    Args:
        capsule: the file
        domains: whose classes to run
        from_beginning: whether the state is made anew; without that, it is what was stored

    Returns:
        what failed again, and the instance's state

    Raises:
        CapsuleError: it is no capsule, or was damaged
        StoreError: it cannot be opened
        DefinitionError: the classes do not fit what is in it

    """
    opened = Capsule(capsule)
    contents = opened.contents
    definition = Registry(domains).process_named(contents.process)
    if definition is None:
        raise UnknownMessage(
            f"{os.fspath(capsule)} is of {contents.process}, which is in none of these domains"
        )
    clock = VirtualClock(from_micros(contents.newest))
    with tempfile.TemporaryDirectory(prefix="procession-capsule-") as folder:
        store = Path(folder) / "store"
        opened.open_in(store)
        # What one partition has for another is durable before it goes there.
        durability: Durability = "fsync" if opened.is_divided else "none"
        with Runtime(store, *domains, clock=clock, durability=durability, control=False) as runtime:
            again = _Again(runtime, clock, definition.cls, contents)
            return again.run(from_beginning=from_beginning)


class _Again:
    """One reproduction."""

    def __init__(
        self, runtime: Runtime, clock: VirtualClock, cls: type[ProcessManager], contents: Contents
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._cls = cls
        self._contents = contents

    def run(self, *, from_beginning: bool) -> Reproduction:
        runtime, instance = self._runtime, self._contents.instance
        runtime.settle()
        failures: list[Failure] = []
        if from_beginning and runtime.get(self._cls, instance) is not None:
            try:
                runtime.refresh(self._cls, instance)
            except NotRefreshed as error:
                failures += self._not_refreshed(error)
        self._wait_for_attempts()
        for one in list(runtime.parked()):
            # What is decided of one may be decided of others of its instance too.
            with suppress(AlreadyDecided):
                runtime.retry(one.id)
            self._wait_for_attempts()
        failures += map(_failure, runtime.parked())
        view = runtime.get(self._cls, instance)
        return Reproduction(
            self._contents.process,
            instance,
            failures,
            None if view is None else dict(view.state),
            is_complete=view is not None and view.is_complete,
        )

    def _wait_for_attempts(self) -> None:
        self._runtime.settle()
        for _ in range(MOST_ATTEMPTS):
            attempt = next((one for one in self._runtime.timeouts() if one.kind == "retry"), None)
            if attempt is None:
                return
            self._clock.advance(max(timedelta(0), attempt.due - self._clock.now()))
            self._runtime.settle()

    def _not_refreshed(self, error: NotRefreshed) -> list[Failure]:
        return [
            Failure(error.process, instance, "refresh", "", *_error(text), "")
            for instance, text in error.errors.items()
        ]


def _failure(parked: Parked) -> Failure:
    return Failure(
        parked.process,
        parked.instance,
        parked.cause,
        parked.handler,
        *_error(parked.error),
        parked.place,
    )


def _error(said: str) -> tuple[str, str]:
    """The exception's type and its text."""
    kind, _, text = said.partition(": ")
    return kind, text
