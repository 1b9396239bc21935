"""What goes wrong between two turns of a simulated run, and how what was made to fail goes on."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from ...core.stimuli import Amend, End
from ...engine.pending_replies import ReplyFuture
from ...errors import AlreadyDecided, AlreadyEnded, MovedOn
from ...store import FailingDisk
from .faults import InjectedFailure, InjectedStoreError
from .reached import HandlerId
from .wording import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...engine.effect_executor import EffectJob
    from ...model.process_definition import ProcessDefinition
    from ...store import TransitionRecord
    from .clients import Clients
    from .operators import Operator
    from .running import Running
    from .timeline import Timeline
    from .world import World

__all__ = ["Accidents"]

STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (3_600, 1, 60, 600, 86_400, 6 * 3_600, 7 * 86_400, 366 * 86_400)
)
"""How far the clock of the machine may be set forward or back."""


class Accidents:
    """Lets happen what is not ordinary, when a deviation says so."""

    def __init__(
        self, world: World, clients: Clients, timeline: Timeline, operator: Operator
    ) -> None:
        self._world = world
        self._clients = clients
        self._timeline = timeline
        self._operator = operator

    def happen(self) -> bool:
        """Let one happen in the place of a turn; false if there is no chance for one now."""
        world = self._world
        take = world.faults.deviations.take
        if (crash := take("crash")) is not None:
            world.crash(crash.which)
            return True
        if world.can_upgrade and take("upgrade") is not None:
            world.upgrade()
            return True
        if world.cut_power():
            return True
        if self._at_nodes():
            return True
        for kind in ("clock_forward", "clock_back"):
            if (one := take(kind)) is not None:
                step = STEPS[one.which % len(STEPS)]
                world.guarded(self._timeline.set_clock, step if kind == "clock_forward" else -step)
                return True
        due = self._timeline.next_due()
        if due is not None and take("time") is not None:
            world.guarded(self._timeline.move_to, due)
            return True
        parts = world.parts
        if any(part.faults.bring_again() for part in parts) or self._clients.bring_again():
            return True
        open_ones = [part for part in parts if part.engine.journal.has_work]
        if open_ones and (cut := take("cut")) is not None:
            part = open_ones[cut.which % len(open_ones)]
            part.faults.note("the commit closes before the chains are at their ends", True)
            world.guarded(part.scheduler.idle)
            world.has_changed = True
            return True
        awake = [part for part in parts if len(part.engine.residency)]
        if awake and (sleep := take("sleep")) is not None:
            part = awake[sleep.which % len(awake)]
            count = part.engine.residency.passivate_idle()
            part.faults.note(f"{count} idle actors leave memory", not count)
            return True
        return self._operate() or self._erase()

    def _at_nodes(self) -> bool:
        """Have something go wrong between nodes, where there are several."""
        deviations = self._world.faults.deviations
        for kind, happen in self._world.accidents.items():
            for one in deviations.armed:
                if one.name == kind and happen(one.which):
                    deviations.take(kind)
                    return True
        return False

    def _operate(self) -> bool:
        """Have an operator prune, or end or amend an instance, at whatever moment this is."""
        world, deviations = self._world, self._world.faults.deviations
        if deviations.take("prune") is not None:
            self._prune()
            return True
        if not {"end", "amend"} & {one.name for one in deviations.armed}:
            return False
        there = list(self._instances())
        if not there or (chosen := deviations.take("end", "amend")) is None:
            return False
        definition, name, last = there[chosen.which % len(there)]
        world.log.note(f"the operator {chosen.name}s {definition.cls.__name__} {name}")
        # The disk may refuse, its method may be made to fail, and what is on its way may be first.
        with suppress(InjectedStoreError, InjectedFailure, AlreadyEnded, MovedOn):
            if chosen.name == "end":
                end = End("as the simulation wants", "the simulation")
                world.guarded(self._operator.end, definition.cls, name, end)
            else:
                world.guarded(self._amend, definition, name, last)
        return True

    def _prune(self) -> None:
        """Have what is complete by now pruned; it is done in turns, among all others."""
        world = self._world
        world.log.note("the operator prunes")
        for part in world.parts:
            services = part.engine.services
            moment = services.now() + 1
            before = dict.fromkeys(part.engine.router_of, moment)
            part.engine.pruner.prune(before, None, ReplyFuture.within(services.replies), None)

    def _erase(self) -> bool:
        """Have an operator erase an instance or a stream, at whatever moment this is."""
        world, deviations = self._world, self._world.faults.deviations
        if not any(one.name == "erase" for one in deviations.armed):
            return False
        there = list(self._erasable())
        if not there or (chosen := deviations.take("erase")) is None:
            return False
        what, erase = there[chosen.which % len(there)]
        world.log.note(f"the operator erases {what}")
        # The disk may refuse, and then the rest is erased when it is asked for again.
        with suppress(InjectedStoreError):
            world.guarded(erase, "the simulation")
        return True

    def _erasable(self) -> Iterator[tuple[str, Callable[[str], object]]]:
        """Instances that have started and streams, whose partition something runs."""
        world, operator = self._world, self._operator
        for definition in world.registry.processes.values():
            for store in world.stores:
                for name, _ in store.scan_instances(definition.name):
                    if world.of_instance(definition, name) is not None:
                        what = f"{definition.cls.__name__} {name}"
                        yield what, partial(operator.erase, definition.cls, name)
        for store in world.stores:
            streams = {one.stream: None for one in store.scan_log() if not one.sent_for}
            for stream in streams:
                if world.of_stream(stream) is not None:
                    yield stream, partial(operator.erase_stream, stream)

    def _amend(self, definition: ProcessDefinition, name: str, last: TransitionRecord) -> None:
        """Give a field the value that it has, since another one may make no sense."""
        values = definition.state_of(last)
        for field in values.keys() - definition.naming_fields:
            amend = Amend({field: values[field]}, "the simulation", last.version, retries=True)
            self._operator.amend(definition.cls, name, amend)
            return

    def _instances(self) -> Iterator[tuple[ProcessDefinition, str, TransitionRecord]]:
        """Those that run, and of which an operator reaches the process."""
        world = self._world
        for definition in world.registry.processes.values():
            for store in world.stores:
                for name, last in store.scan_instances(definition.name):
                    if not last.is_complete and world.of_instance(definition, name) is not None:
                        yield definition, name, last

    def run_effect(self, part: Running) -> None:
        """Run the next after-effect, which may be made to fail."""
        part.engine.effects.run_next(partial(self._run, part))

    def _run(self, part: Running, job: EffectJob) -> bool:
        faults = part.faults
        name = f"{job.source.definition.cls.__name__} {job.instance}"
        what = f"the after-effect of {short(job.record.type)}"
        accident = faults.handler_accident(_handler_of(part, job))
        if accident == "fails_before":
            faults.note(f"{name} failed before {what}")
            raise InjectedFailure("the after-effect failed before it ran")
        try:
            is_there = job.source.run(job)
        except Exception as error:
            faults.note(f"{name} failed at {what}: {error!r}")
            raise
        if accident:
            faults.note(f"{name} failed after {what} had run")
            raise InjectedFailure("the after-effect failed after it ran")
        faults.note(f"{name} ran {what}", not is_there)
        return is_there

    def have_parked(self) -> bool:
        """Whether something is parked because it was made to fail."""
        faults = self._world.faults
        faults.has_failed = faults.has_failed and bool(self._parked())
        return faults.has_failed

    def retry(self) -> None:
        """Have the operator retry what was made to fail."""
        for number in self._parked():
            if self._world.of_parked(number)[0] is None:
                continue
            self._world.log.note("the operator has what was made to fail tried again")
            # When the disk refuses, there is another time; an effect may be under way again.
            with suppress(InjectedStoreError, FailingDisk, AlreadyDecided):
                self._operator.retry(number, None)

    def _parked(self) -> list[int]:
        return [
            self._world.parked_id(partition, one.number)
            for partition, store in enumerate(self._world.stores)
            for one in store.scan_parked()
            if one.error_type.rpartition(".")[2] == InjectedFailure.__name__
        ]


def _handler_of(part: Running, job: EffectJob) -> HandlerId:
    definition, name = job.source.definition, job.record.type.rpartition(".")[0]
    for event, handler in definition.effects.items():
        if part.registry.name_of(event, definition).rpartition(".")[0] == name:
            return HandlerId.of(definition.cls, handler)
    raise AssertionError(f"{definition.name} has no after-effect of {job.record.type}")
