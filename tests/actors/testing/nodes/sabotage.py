"""Nodes that break what partitions promise, each in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procession.engine.crossing import Crossing
from procession.engine.lanes import Lanes
from procession.engine.router import SENT, Router
from procession.store.open_commit import OpenCommit
from procession.testing.simulation.leases import Leases
from procession.testing.simulation.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = ["SABOTAGE"]

SABOTAGE: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}
"""What each breaks, and how."""


def breaks(what: str) -> Callable[[Callable[[pytest.MonkeyPatch], None]], None]:
    def note(break_it: Callable[[pytest.MonkeyPatch], None]) -> None:
        SABOTAGE[what] = break_it

    return note


@breaks("a commit is made without the epoch")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "refusal", lambda self, partition, epoch: None)


@breaks("a step takes what came by a lane, and does not write the cursor")
def _(patch: pytest.MonkeyPatch) -> None:
    take_in = OpenCommit._take_in

    def broken(self: OpenCommit, arrived: Any) -> None:
        take_in(self, arrived)
        self._changes["cursors"].clear()

    patch.setattr(OpenCommit, "_take_in", broken)


@breaks("a checkpoint runs ahead of what is handled")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Router, "done_up_to", property(lambda router: router._position))


@breaks("a partition is handed over before it is drained")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Running, "is_drained", True)


@breaks("the partition of a learnt key forgets who has it")
def _(patch: pytest.MonkeyPatch) -> None:
    take_in = OpenCommit._take_in

    def broken(self: OpenCommit, arrived: Any) -> None:
        arrived.learnt = []
        take_in(self, arrived)

    patch.setattr(OpenCommit, "_take_in", broken)


@breaks("what was sent to other partitions is sent again after a crash")
def _(patch: pytest.MonkeyPatch) -> None:
    checkpoints = Router.checkpoints

    def broken(self: Router) -> dict[str, int]:
        return {self.plan.name: checkpoints(self)[self.plan.name]}

    patch.setattr(Router, "checkpoints", broken)


@breaks("what was sent is not sent again when nothing of the commit was kept")
def _(patch: pytest.MonkeyPatch) -> None:
    start_over = Router.start_over

    def broken(self: Router, position: int, sent_up_to: int) -> None:
        crossing = self._crossing
        before = 0 if crossing is None else crossing.sent_up_to
        start_over(self, position, sent_up_to)
        if isinstance(crossing, Crossing):
            crossing.sent_up_to = max(before, sent_up_to)

    patch.setattr(Router, "start_over", broken)


@breaks("what was sent is sent again when the answer to a commit was lost")
def _(patch: pytest.MonkeyPatch) -> None:
    start_over = Router.start_over

    def broken(self: Router, position: int, sent_up_to: int) -> None:
        done = getattr(self._journal, "done_up_to", {})
        start_over(self, position, done.get(f"{SENT}{self.plan.name}", sent_up_to))

    patch.setattr(Router, "start_over", broken)


@breaks("who died before it told others of what it sent does not tell them when it is back")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lanes, "on_start", lambda self: None)


@breaks("what another partition found an instance for comes before what was there before it")
def _(patch: pytest.MonkeyPatch) -> None:
    find = Router._found_elsewhere
    take = OpenCommit._take_in

    def waiting(self: OpenCommit, arrived: Any) -> None:
        take(self, arrived)
        for event in arrived.events:
            for instance in event.sent_to or ():
                self._let_wait(event.sent_for, instance, event.position)

    def broken(self: Router, record: Any, instances: list[str]) -> Any:
        return find(self, record, instances)._replace(deliveries=[])

    patch.setattr(OpenCommit, "_take_in", waiting)
    patch.setattr(Router, "_found_elsewhere", broken)
