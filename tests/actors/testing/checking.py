"""A simulation beside the model: whatever is on disk must be what the description leads to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.actors.testing.instance_model import InstanceModel, Issued, handler_of
from tests.actors.testing.model import StreamModel, decide, fails_for_good, instances_named
from tests.actors.testing.stored import Disk, StoredEvent, StoredStep, number_of, said_of

if TYPE_CHECKING:
    from procession.store import ParkedRecord
    from procession.testing import Simulation
    from tests.actors.testing.descriptions import DomainMade, ManagerMade

__all__ = ["Checker"]

INJECTED = "InjectedFailure"
ALREADY = "AlreadyStarted"
EARLY = "EarlyEvent"
LATE = "LateEvent"
MINUTE = 60_000_000


class Checker:
    """Follows one run.

    Args:
        made: the description of what runs
        simulation: that runs it
        items: what clients bring, as the simulation was given it
        faults: whether handlers are made to fail

    """

    def __init__(
        self, made: DomainMade, simulation: Simulation, items: list[list[Any]], *, faults: bool
    ) -> None:
        self.made = made
        self.simulation = simulation
        self.faults = faults
        self.items = items
        self.disk = Disk(simulation)
        self.by_id: dict[str, StoredEvent] = {}
        self.instances: dict[tuple[str, str], InstanceModel] = {}
        self.streams: dict[str, StreamModel] = {}
        self.counts: dict[str, list[int]] = {}
        self.issued: dict[str, Issued] = {}
        self.carried_out: Counter[str] = Counter()
        self.managers = {f"wild.{one.name}": one for one in made.managers}
        for client, things in enumerate(items, 1):
            for place, thing in enumerate(things, 1):
                command_id = f"client{client}.{place}"
                if type(thing).__name__.startswith("Command"):
                    self.issued[command_id] = Issued(
                        command_id, number_of(thing), said_of(thing), None, "", command_id, 0
                    )
        self._follow(self.disk.events)

    # Promises 2, 3, 4 and 7: at any moment

    def look(self) -> None:
        """Check everything that must hold at any moment."""
        self._follow(self.disk.refresh())
        self._check_places()
        self._check_timers()
        self._check_parked()
        self._check_acknowledged()

    def _follow(self, events: list[StoredEvent]) -> None:
        """Move the model on by what is new on disk."""
        for event in events:
            self.by_id[event.event_id] = event
        # What an instance was led to do by what another one did comes behind it.
        todo = {
            key: steps[self.instances[key].version if key in self.instances else 0 :]
            for key, steps in self.disk.steps.items()
        }
        for key, steps in todo.items():
            for step in steps:
                self._follow_step(key, step)
        for event in events:
            self._follow_event(event)

    def _follow_step(self, key: tuple[str, str], step: StoredStep) -> None:
        model = self.instances.get(key)
        if model is None:
            model = InstanceModel(self.made, self.managers[key[0]], key[1])
            self.instances[key] = model
        model.was_set = self.simulation._world.clock.was_set
        model.skipped = {
            one.name for one in self.disk.decided if (one.process, one.instance) == key
        }
        event = self.by_id.get(step.cause)
        before, since = model.newest, model.at_newest
        if event is not None and not model.manager.stateless:
            self._check_not_overtaken(model, event)
            # Those before it were handled, or there is a reason why not.
            upto = len(model.points)
            started = model.state is not None
            issued = model.move(step, event, None)
            for other in self._missing(model, before, model.newest):
                if started or model.manager.early != "hold":
                    self._justify(model, other, since, upto)
        else:
            issued = model.move(step, event, self.issued.get(step.cause))
        self.issued |= {one.command_id: one for one in issued}

    def _check_not_overtaken(self, model: InstanceModel, event: StoredEvent) -> None:
        """No timeout was taken before an event that was stored before it was due."""
        handler = handler_of(self.made, model.manager, event)
        assert handler is not None, f"{event} is not for {model.who}"
        # One that is found by a key may come when it is learnt, and what was parked when it is
        # retried.
        # By a clock that was set, what came later may have an earlier time.
        if model.was_set:
            return
        if handler.correlate != "key" and not self._is_parked(model, event.position):
            # One of the same moment may have been stored after the timeout was found to be due.
            assert event.time >= model.fired, f"{event} was overtaken in {model.who}"

    def _missing(
        self, model: InstanceModel, after: tuple[int, int], before: tuple[int, int] | None
    ) -> list[StoredEvent]:
        """Events between two ranks that the instance has not handled and that may be for it."""
        if model.manager.stateless:
            return []
        return [
            event
            for event in self.disk.events
            if event.position not in model.handled
            and model.rank(event.position) > after
            and (before is None or model.rank(event.position) < before)
            and self._may_concern(model, event)
        ]

    def _may_concern(self, model: InstanceModel, event: StoredEvent) -> bool:
        handler = handler_of(self.made, model.manager, event)
        if handler is None:
            return False
        named = instances_named(handler, event.said)
        return named is not None and (handler.correlate == "key" or model.instance in named)

    def _justify(self, model: InstanceModel, event: StoredEvent, since: int, upto: int) -> None:
        """There is a reason why an event made no transition."""
        handler = handler_of(self.made, model.manager, event)
        assert handler is not None
        if self._is_parked(model, event.position):
            return
        for point in model.points[since:upto]:
            if handler.correlate == "key":
                if not point.is_started or point.key != event.said["key"]:
                    return
                if not self._is_exact(model.manager):
                    # It came when the one that teaches the key was still to be tried again.
                    return
            if point.is_complete and not (model.manager.restart and handler.start):
                return
            if 0 < model.version_that_issued(event.causation_id) < point.run:
                # It answers what was issued before the instance started anew.
                return
            if not point.is_started and not handler.start and model.manager.early == "skip":
                return
        raise AssertionError(f"{model.who} never handled {event}")

    def _is_exact(self, manager: ManagerMade) -> bool:
        """Whether no instance learns a key later than by the order of events."""
        fails = any(action.kind == "fail" for one in manager.handlers for action in one.actions)
        return not (self.faults or fails or manager.early == "hold")

    def _is_parked(self, model: InstanceModel, position: int) -> bool:
        name = f"wild.{model.manager.name}"
        return any(
            (one.process, one.position) == (name, position)
            # One that is parked under no instance could have been for any.
            and one.instance in {model.instance, ""}
            for one in (*self.disk.parked, *self.disk.decided)
        )

    # What aggregates made

    def _follow_event(self, event: StoredEvent) -> None:
        category = event.stream.partition("-")[0]
        made = next((one for one in self.made.aggregates if one.category == category), None)
        if made is None:
            assert event.causation_id is None, f"no aggregate made {event}, which has a cause"
            return
        stream = self.streams.setdefault(event.stream, StreamModel(made))
        counts = self.counts.setdefault(event.stream, [0])
        assert event.version == stream.version + 1, f"{event} comes behind {stream.version}"
        if event.causation_id is not None:
            self._follow_made(event, stream)
        stream.apply(event.number, event.said)
        counts.append(stream.state["count"])

    def _follow_made(self, event: StoredEvent, stream: StreamModel) -> None:
        """An event that an aggregate made: of a command that exists, as its decision says."""
        command_id = event.causation_id or ""
        command = self.issued.get(command_id)
        assert command is not None, f"{event} was made of a command that no instance issued"
        made, decision = self.made.decision(command.number)
        assert event.stream == f"{made.category}-{command.said['who']}", f"{event}: {command}"
        assert event.correlation_id == command.correlation_id, f"{event} is of another chain"
        place = self.carried_out[command_id]
        self.carried_out[command_id] += 1
        assert place < len(decision.emits), f"{command} took effect twice: {event}"
        if not place:
            decided = decide(decision, command.said, stream.state["count"])
            assert decided.events, f"{command} should have been refused at {stream.state}: {event}"
            positions = [one.position for one in self.disk.events if one.causation_id == command_id]
            expected = list(range(event.position, event.position + len(decided.events)))
            assert positions == expected, f"{command} took effect at {positions}"
        assert event.number == decision.emits[place], f"{event} is not what {command} makes"
        assert event.said == command.said, f"{event} is not what {command} makes"

    def outcomes(self, command: Issued) -> set[str]:
        """What can have come of a command, whatever came before it in its aggregate."""
        made, decision = self.made.decision(command.number)
        counts = self.counts.get(f"{made.category}-{command.said['who']}", [0])
        found = set()
        for count in counts:
            decided = decide(decision, command.said, count)
            if decided.is_failure:
                found.add("fails")
            elif decided.refusal is not None:
                found.add("refused")
            else:
                found.add("events" if decided.events else "nothing")
        return found

    # Where everything is

    def places(self, command: Issued) -> list[str]:
        """Where a command is, or what came of it, as far as the disk shows it."""
        name = command.command_id
        found = ["queue"] * self.disk.queued.count(name)
        found += ["held" for one in self.disk.timers if one.name == name]
        found += ["events"] if self.carried_out[name] else []
        found += ["refusal" for one in self.disk.refusals if one.command.command_id == name]
        found += [
            "told"
            for model in self.instances.values()
            if name in model.told and command.instance == model.instance
        ]
        found += [
            "parked"
            for one in (*self.disk.parked, *self.disk.decided)
            if one.command is not None
            and one.command.command_id == name
            and (one.decision is None or one.decision[0] == "skip")
        ]
        return found

    def _check_places(self) -> None:
        for command in self.issued.values():
            places = self.places(command)
            if command.manager is None:
                # A client may bring it twice and find it parked twice; it takes effect once.
                continue
            assert len(places) <= 1, f"{command} is in {places}"
            if places:
                continue
            if command.taken_back_at is not None:
                continue
            assert self.outcomes(command) != {"events"}, f"{command} is nowhere"

    def _check_timers(self) -> None:
        now = self.simulation._world.engine.services.now()
        was_set = self.simulation._world.clock.was_set
        rows: dict[tuple[str, str], set[tuple[str, int]]] = {}
        held: set[str] = set()
        for timer in self.disk.timers:
            if timer.kind == "timeout":
                rows.setdefault((timer.process, timer.instance), set()).add((timer.name, timer.due))
            elif timer.kind == "command":
                held.add(timer.name)
        skipped = {(one.process, one.instance, one.name) for one in self.disk.decided if one.name}
        for key, model in self.instances.items():
            expected = {one for one in model.timers.items() if (*key, one[0]) not in skipped}
            found = {one for one in rows.pop(key, ()) if (*key, one[0]) not in skipped}
            assert found == expected, f"{model.who} has {found} due and not {expected}"
            for name, command in model.held.items():
                # It may have left before the clock was set back.
                is_over = command.taken_back_at is not None or command.due <= now or was_set
                assert is_over or name in held, f"{command} left too early, or is lost"
                early = command.taken_back_at
                if early is not None and early < command.due:
                    assert not self.places(command), f"{command} was taken back, and left"
        assert not rows, f"these are due, and no instance set them: {rows}"

    # What is parked

    def _check_parked(self) -> None:
        seen: Counter[tuple[Any, ...]] = Counter()
        for one in self.disk.parked:
            # A command that came twice from outside may be parked twice.
            if one.command is None or one.command.process is not None:
                seen[one.process, one.instance, one.cause, one.position, one.name] += 1
        again = [key for key, times in seen.items() if times > 1]
        assert not again, f"parked twice: {again}"
        for one in (*self.disk.parked, *self.disk.decided):
            self._check_one_parked(one)

    def _check_one_parked(self, one: ParkedRecord) -> None:
        kind = one.error_type.rpartition(".")[2]
        if kind == INJECTED:
            assert self.faults, f"{one} failed, and no deviation made it fail"
            return
        if one.command is not None:
            command = self.issued[one.command.command_id]
            manager = command.manager
            if kind == "ValueError":
                assert "fails" in self.outcomes(command), f"{one}: {command}"
            else:
                assert kind == "Rejected", f"{one}"
                assert manager is not None, f"{one} came from outside"
                assert "refused" in self.outcomes(command), f"{one}: {command}"
                listened = [each.command for each in manager.refusals]
                assert command.number not in listened, f"{one} should have been told"
            return
        manager = self.managers[one.process]
        if one.position:
            event = self.disk.events[one.position - 1]
            handler = handler_of(self.made, manager, event)
            assert handler is not None, f"{one} is not for {manager.name}"
            if not one.instance:
                # Its key names no instance, or an instance that is held up may come to know it.
                is_late = kind == EARLY and handler.correlate == "key"
                may_be = manager.unmatched == "park" or not self._is_exact(manager)
                assert may_be or not is_late, f"{one}: {event}"
                assert is_late or instances_named(handler, event.said) is None, f"{one}: {event}"
                return
            actions = handler.actions
            if kind == ALREADY:
                assert handler.start == "only", f"{one}: {event}"
                return
            if kind == LATE:
                points = self.instances[one.process, one.instance].points
                assert manager.late == "park", f"{one}: {event}"
                assert any(point.is_complete for point in points), f"{one}: {event}"
                return
            if kind == EARLY:
                assert (manager.early, handler.start) == ("park", False), f"{one}: {event}"
                return
        elif one.name:
            actions = manager.timeouts[int(one.name[1:])].actions
        else:
            number = self.issued[one.cause].number
            actions = next(each for each in manager.refusals if each.command == number).actions
        assert kind == "RuntimeError", f"{one}"
        assert fails_for_good(manager, actions), f"{one} was not meant to fail for good"
        assert one.attempts >= max(manager.attempts, 1), f"{one} was tried too rarely"

    # Promise 5

    def _check_acknowledged(self) -> None:
        """What a client was told is durable is there."""
        store = self.simulation._world.store
        for client in self.simulation._clients.all:
            for place in range(client.place):
                item, name = client.items[place], f"{client.name}.{place + 1}"
                if type(item).__name__ == "Publish":
                    event_id = getattr(item, "event_id", None) or name
                    assert event_id in self.by_id, f"{item} was taken in, and is lost"
                elif type(item).__name__.startswith("Command"):
                    is_there = store.result_of(name) is not None or self.places(self.issued[name])
                    assert is_there, f"{item} was taken in, and is lost"

    def check_quiet(self) -> None:
        """Check what must hold when nothing is left to do before another time comes."""
        self.look()
        now = self.simulation._world.engine.services.now()
        assert self.disk.queued == [], f"no aggregate takes {self.disk.queued}"
        for refusal in self.disk.refusals:
            record = refusal.command
            block, _ = self.disk.waiting(record.process or "", record.instance or "")
            assert block is not None, f"no instance was told of {refusal}"
        for timer in self.disk.timers:
            if timer.due <= now:
                block, _ = self.disk.waiting(timer.process, timer.instance)
                assert timer.kind in {"timeout", "command"}, f"{timer} was due"
                assert block is not None, f"{timer} was due"
        for command in self.issued.values():
            self._check_came_of(command)
        for manager in self.made.managers:
            self._check_all_handled(manager)
            if manager.unmatched == "hold":
                self._check_none_lost(manager)
        for (name, instance), model in self.instances.items():
            view = self.simulation._world.store.last_transition(name, instance)
            assert view is not None
            assert view.version == model.version

    def _check_came_of(self, command: Issued) -> None:
        places = self.places(command)
        outcomes = self.outcomes(command)
        if command.manager is None:
            self._check_answered(command, outcomes)
            return
        if places or command.taken_back_at is not None:
            return
        quiet = {"nothing"} & outcomes
        if "refused" in outcomes and command.manager.refusals:
            handled = [one.command for one in command.manager.refusals]
            model = self.instances[f"wild.{command.manager.name}", command.instance]
            # Who has ended is not told any more, and what failed at it was skipped.
            ended = any(point.is_complete for point in model.points)
            skipped = any(
                one.cause == command.command_id for one in (*self.disk.parked, *self.disk.decided)
            )
            if command.number in handled and (ended or skipped):
                quiet.add("refused")
        assert quiet, f"{command} is lost; it could have been {outcomes}"

    def _check_answered(self, command: Issued, outcomes: set[str]) -> None:
        result = self.disk.result_of(command.command_id)
        if result is None:
            is_there = "parked" in self.places(command)
            client, place = command.command_id.removeprefix("client").split(".")
            brought = self.simulation._clients.all[int(client) - 1].place >= int(place)
            assert is_there or not brought, f"{command} is lost"
            return
        if result.refusal is not None:
            assert "refused" in outcomes, f"{command}: {result}"
        elif result.events:
            assert result.events == self.carried_out[command.command_id], f"{command}: {result}"
        else:
            assert "nothing" in outcomes, f"{command}: {result}"

    def _check_all_handled(self, manager: ManagerMade) -> None:
        """Each event made a transition where it was for, or there is a reason why not."""
        name = f"wild.{manager.name}"
        for event in self.disk.events:
            handler = handler_of(self.made, manager, event)
            if handler is None:
                continue
            named = instances_named(handler, event.said)
            if manager.stateless:
                named = [event.event_id]
            elif handler.correlate == "key" and named is not None:
                named = [one for kind, one in self.instances if kind == name]
            if named is None:
                assert any(
                    (one.process, one.instance, one.position) == (name, "", event.position)
                    for one in (*self.disk.parked, *self.disk.decided)
                ), f"{event} is for no instance, and none was told"
                continue
            for instance in named:
                model = self.instances.get((name, instance))
                if model is None:
                    model = InstanceModel(self.made, manager, instance)
                self._check_handled(model, event)

    def _check_none_lost(self, manager: ManagerMade) -> None:
        """Who alone has a key, and learnt it soon enough, has had every event by that key."""
        having: dict[str, list[InstanceModel]] = {}
        for (name, _), model in self.instances.items():
            if name == f"wild.{manager.name}":
                for key in {point.key for point in model.points} - {""}:
                    having.setdefault(key, []).append(model)
        for event in self.disk.events:
            handler = handler_of(self.made, manager, event)
            models = having.get(event.said["key"], [])
            if handler is None or handler.correlate != "key" or len(models) != 1:
                continue
            [model] = models
            learnt_at = self._learnt_at(model, event.said["key"])
            if learnt_at is None or learnt_at >= event.time + MINUTE:
                continue
            block, waiting = self.disk.waiting(f"wild.{manager.name}", model.instance)
            assert (
                event.position in model.handled
                or event.position in waiting
                or (block is not None and block.position == event.position)
                or self._is_parked(model, event.position)
            ), f"{model.who} has {event.said['key']!r}, and never had {event}"

    def _learnt_at(self, model: InstanceModel, key: str) -> int | None:
        """When an instance learnt a key that it has; None if it ever gave it up, or ended."""
        has = [point.key == key for point in model.points]
        first = has.index(True)
        if not all(has[first:]) or any(point.is_complete for point in model.points[first:]):
            return None
        return self.disk.steps[f"wild.{model.manager.name}", model.instance][first - 1].time

    def _check_handled(self, model: InstanceModel, event: StoredEvent) -> None:
        if event.position in model.handled or model.rank(event.position) < model.newest:
            return
        block, waiting = self.disk.waiting(f"wild.{model.manager.name}", model.instance)
        if event.position in waiting:
            handler = handler_of(self.made, model.manager, event)
            is_held = model.state is None and model.manager.early == "hold"
            assert block is not None or is_held, f"{model.who} leaves {event} waiting"
            assert block is not None or (handler and not handler.start), f"{event} waits"
            return
        if block is not None and block.position == event.position:
            return
        self._justify(model, event, model.at_newest, len(model.points))
