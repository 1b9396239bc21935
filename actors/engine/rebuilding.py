"""Having the instances of a class rebuilt: many at a time, and again from where it stopped."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.replay import Replay, replay_log
from ..core.stimuli import Refresh
from ..errors import Erased, NotRefreshed
from ..model.beginnings import warn_of_pruned
from ..store import PRUNED, ClosedError, CorruptRecord, erased_at
from ..store.interrupts import uninterrupted
from .admin import person
from .ahead_reads import AheadReads
from .instance_actor import InstanceMessage
from .pending_replies import ReplyFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..model.process_definition import ProcessDefinition
    from ..store import Store
    from .engine import Engine

__all__ = ["RebuildProgress", "Rebuilding"]

TOGETHER = 1_024
"""Most instances that are led along the log at once; each time, it is read once for all."""

VERSIONS = 65_536
"""Most transitions that they have together."""

KEPT = 1_000
"""Most errors that are kept, so that memory does not depend on how many instances there are."""


@dataclass(slots=True)
class RebuildProgress:
    """How far it has come to rebuild the instances of a process manager.

    Attributes:
        rebuilt: how many were rebuilt
        passed_over: how many this code had rebuilt before, or were erased
        not_rebuilt: how many could not be, and are as before
        errors: why, by instance, of the first thousand of them
        newest: the id of the instance that was dealt with last

    """

    rebuilt: int = 0
    passed_over: int = 0
    not_rebuilt: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    newest: str = ""

    @property
    def done(self) -> int:
        """How many instances were dealt with."""
        return self.rebuilt + self.passed_over + self.not_rebuilt


class Rebuilding:
    """Rebuilds the instances of one process manager, in the order of their starts.

    Args:
        engine: that runs them
        store: where they are
        definition: of the process manager
        by: who asks
        told: is called with the progress, whenever there is some

    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        definition: ProcessDefinition,
        by: str | None,
        told: Callable[[RebuildProgress], object] | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._name = definition.name
        self._plan = engine.router_of[definition.name].plan
        self._by = person(by)
        self._told = told
        self.progress = RebuildProgress()

    def refresh(self) -> RebuildProgress:
        """By what made their transitions.

        Raises:
            NotRefreshed: some could not be; all others were

        """
        batch: list[str] = []
        for name in self._started():
            batch.append(name)
            if len(batch) >= TOGETHER:
                self._refresh_all(batch)
                batch = []
        self._refresh_all(batch)
        return self._ended()

    def _refresh_all(self, names: list[str]) -> None:
        if not names:
            return
        asked = uninterrupted(
            lambda: [(name, self._ask(name, Refresh(by=self._by))) for name in names],
            "procession-refresh",
        )
        for name, reply in asked:
            self._await(name, reply)

    def rebuild(self, *, again: bool) -> RebuildProgress:
        """By all that concerns them from the beginning of the log.

        Args:
            again: whether those that this code has rebuilt before are rebuilt as well

        Raises:
            NotRefreshed: some could not be; all others were

        """
        warn_of_pruned(self._store, self._name, self._plan.begun_at)
        handler = "refresh" if again else "rebuild"
        batch: list[str] = []
        versions = 0
        for name in self._started():
            try:
                last = self._store.last_transition(self._name, name)
            except CorruptRecord as error:
                self._failed(name, error)
                continue
            assert last is not None
            if not again and last.handler == "rebuild" and last.code == self._plan.code:
                self.progress.passed_over += 1
                self._tell(name)
                continue
            if erased_at(last.state) is not None:
                self.progress.passed_over += 1
                continue
            batch.append(name)
            versions += last.version
            if len(batch) >= TOGETHER or versions >= VERSIONS:
                self._rebuild_all(batch, handler)
                batch, versions = [], 0
        self._rebuild_all(batch, handler)
        return self._ended()

    def _rebuild_all(self, names: list[str], handler: str) -> None:
        """Find out what instances come to; each takes it over if it has not moved meanwhile."""
        if not names:
            return
        # The caller's `told` is called below, in the caller's thread.
        answers = uninterrupted(lambda: list(self._asked(names, handler)), "procession-rebuild")
        for name, answer in answers:
            if isinstance(answer, ReplyFuture):
                self._await(name, answer)
            else:
                self._failed(name, answer)

    def _asked(
        self, names: list[str], handler: str
    ) -> Iterator[tuple[str, ReplyFuture[int] | Exception]]:
        """What each instance answers that was told what it comes to, or why it was not."""
        plan, reads = self._plan, AheadReads(self._store, self._engine.journal)
        until = self._engine.done_up_to(self._name)
        with self._engine.dispatcher.handling():
            replays = []
            for name in names:
                try:
                    replay = Replay(plan, name, reads)
                    replay.leave_out(reads.set_aside(plan.name, name))
                    replays.append(replay)
                except CorruptRecord as error:
                    yield name, error
            found = replay_log(plan, replays, reads, until)
        for replay, rebuilt in found:
            if rebuilt is None:
                assert replay.error is not None
                yield replay.instance, replay.error
            else:
                refresh = Refresh(until=until, rebuilt=rebuilt, handler=handler, by=self._by)
                yield replay.instance, self._ask(replay.instance, refresh)

    def _started(self) -> Iterator[str]:
        for number, name in self._store.scan_started(self._name):
            if isinstance(name, CorruptRecord):
                self._failed(f"started with transition {number}", name)
            elif not self._is_pruned(name):
                yield name

    def _is_pruned(self, name: str) -> bool:
        """Whether an instance has nothing any more that it could be rebuilt from."""
        version = self._store.version_of(self._name, name)
        with suppress(CorruptRecord):
            last = self._store.stored_transition(self._name, name, version)
            return last is not None and last.cause == PRUNED
        return False

    def _ask(self, name: str, refresh: Refresh) -> ReplyFuture[int]:
        reply: ReplyFuture[int] = ReplyFuture.within(self._engine.services.replies)
        if self._engine.deliver(self._name, name, InstanceMessage(refresh, reply=reply)):
            self._engine.dispatcher.nudge()
        return reply

    def _await(self, name: str, reply: ReplyFuture[int]) -> None:
        try:
            self.progress.rebuilt += reply.get()
        except ClosedError:
            raise
        except Erased:
            # It stays as it is: what it was made of is not kept any more.
            self.progress.passed_over += 1
        except Exception as error:  # noqa: BLE001 - the others must not suffer; it is raised at the end
            self._failed(name, error)
        else:
            self._tell(name)

    def _failed(self, name: str, error: Exception) -> None:
        progress = self.progress
        progress.not_rebuilt += 1
        if len(progress.errors) < KEPT:
            progress.errors[name] = f"{type(error).__name__}: {error}"
        self._tell(name)

    def _tell(self, name: str) -> None:
        self.progress.newest = name
        if self._told is not None:
            self._told(self.progress)

    def _ended(self) -> RebuildProgress:
        progress = self.progress
        if progress.not_rebuilt:
            raise NotRefreshed(self._name, progress.rebuilt, progress.not_rebuilt, progress.errors)
        return progress
