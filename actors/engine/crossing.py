"""What crosses from one partition of a divided store to another: who is here, and what is sent.

A step is decided as if there were one partition. Before it is handed over, what it makes for others
is turned into what the step sends to them, so that it is kept or lost with the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..store import LearntKey, SentRecord, partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model.plans import ProcessPlan
    from ..model.subscriptions import LearntKey as LearntKeyOf
    from ..store import EventRecord, Partition, Step, StepExtras

__all__ = ["Crossing", "Sender"]


class Sender:
    """Turns what a step makes for other partitions into what it sends.

    Args:
        partition: the one that the steps are of
        stateless: names of process managers whose instances are where their events are
        event_at: the event at a position of the log

    """

    def __init__(
        self,
        partition: Partition,
        stateless: Iterable[str],
        event_at: Callable[[int], EventRecord | None],
    ) -> None:
        self._partition = partition
        self._stateless = frozenset(stateless)
        self._event_at = event_at

    def is_here(self, process: str, instance: str) -> bool:
        """Whether an instance is in this partition."""
        return process in self._stateless or self._partition.has(instance)

    def send_away(self, step: Step) -> None:
        """Take out of a step what is for other partitions; done once or again, it is the same."""
        sent: list[SentRecord] = []
        if step.enqueue:
            self._commands(step, sent)
        extras = step.extras
        if extras is not None:
            if extras.refusal is not None:
                self._refusal(extras, sent)
            if extras.index:
                self._learnt(step, extras, sent)
            if extras.waits:
                self._waits(extras, sent)
        if sent:
            step.send = [*(step.send or ()), *sent]

    def _commands(self, step: Step, sent: list[SentRecord]) -> None:
        partition, here = self._partition, []
        for command in step.enqueue or ():
            target = partition.of_stream(command.stream)
            # What is from outside was brought to the partition that it is for.
            if target == partition.number or command.process is None:
                here.append(command)
            else:
                origin = partition.number
                sent.append(SentRecord(target, command=replace(command, origin=origin)))
        step.enqueue = here or None

    def _refusal(self, extras: StepExtras, sent: list[SentRecord]) -> None:
        refusal = extras.refusal
        if refusal is not None and refusal.command.origin is not None:
            extras.refusal = None
            sent.append(SentRecord(refusal.command.origin, refusal=refusal))

    def _learnt(self, step: Step, extras: StepExtras, sent: list[SentRecord]) -> None:
        partition, here = self._partition, []
        for field, old, new in extras.index:
            told: dict[int, LearntKey] = {}
            for value, is_new in ((old, False), (new, True)):
                if value is None:
                    continue
                target = partition.of(value)
                one = told.get(target)
                if one is None:
                    one = told[target] = LearntKey(step.process, step.instance, field, None, None)
                if is_new:
                    one.new = value
                else:
                    one.old = value
            own = told.pop(partition.number, None)
            if own is not None:
                here.append((field, own.old, own.new))
            sent += [SentRecord(target, learnt=one) for target, one in told.items()]
        extras.index = here

    def _waits(self, extras: StepExtras, sent: list[SentRecord]) -> None:
        """Events that instances elsewhere are to take up, as an operator decided."""
        here = []
        for process, instance, position in extras.waits:
            event = None if self.is_here(process, instance) else self._event_at(position)
            if event is None:
                here.append((process, instance, position))
            else:
                target = self._partition.of(instance)
                sent.append(SentRecord(target, event, process, [instance]))
        extras.waits = here


class Crossing:
    """Of the instances that an event is for, which are in other partitions.

    An event goes to the partition of each instance that it names; where it names values of a learnt
    key, to the partitions of these, which know the instances and send it on.

    Args:
        plan: of the process manager
        partition: the one whose log the router reads

    """

    def __init__(self, plan: ProcessPlan, partition: Partition) -> None:
        self._name = plan.name
        self._plan = plan
        self._is_stateless = plan.definition.stateless
        self._partition = partition
        self._own, self._count = partition.number, partition.count
        self.sent_up_to = 0
        """The position up to which all was sent on that is for other partitions."""

    def concerns(self, record: EventRecord) -> bool:
        """Whether a router is to look at an event; not at a copy that is for another class."""
        return not record.sent_for or record.sent_for == self._name

    def target_of(self, instance: str) -> int | None:
        """The partition of an instance; None if it is this one."""
        target = partition_of(instance, self._count)
        return None if target == self._own else target

    def those_here(self, named: list[str]) -> list[str]:
        """Those of the instances that are in this partition."""
        if self._is_stateless:
            return named
        return [instance for instance in named if self._partition.has(instance)]

    def values_here(self, learnt: LearntKeyOf | None) -> LearntKeyOf | None:
        """The learnt key that an event names, with those values whose instances are known here."""
        if learnt is None:
            return None
        values = [value for value in learnt[1] if self._partition.has(value)]
        return (learnt[0], values) if values else None

    def split(
        self, record: EventRecord, named: list[str], learnt: LearntKeyOf | None
    ) -> tuple[list[str], list[SentRecord]]:
        """Which of the instances are here, and what is sent to where the others are.

        Args:
            record: the event
            named: the instances; of a learnt key, those that this partition knows
            learnt: the learnt key that it names, with all its values

        """
        if self._is_stateless:
            return named, []
        own, name, sent = self._partition.number, self._name, list[SentRecord]()
        here: list[str] = []
        away: dict[int, list[str]] = {}
        for instance in named:
            target = self._partition.of(instance)
            if target == own:
                here.append(instance)
            else:
                away.setdefault(target, []).append(instance)
        if record.position <= self.sent_up_to:
            return here, sent
        if learnt is not None:
            sent += [
                SentRecord(target, record, name, instances) for target, instances in away.items()
            ]
            away = {self._partition.of(value): [] for value in learnt[1]}
        if not record.sent_for:
            sent += [SentRecord(target, record, name) for target in away if target != own]
        return here, sent

    def after_effects(
        self, record: EventRecord, read_index: Callable[[str, str, str], Iterable[str]]
    ) -> list[SentRecord]:
        """What is sent of an event that is not handled, and after which the class acts.

        Raises:
            Exception: it cannot be read or correlated

        """
        after = self._plan.after_effects
        if not after.listens_to(record):
            return []
        event = after.load(record)
        named, learnt = after.route(record, event, read_index)
        return self.split(record, named, learnt)[1]
