"""The id of an instance that handles one event by itself, however long the event's id is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, after, handle
from procession.testing import Simulation

if TYPE_CHECKING:
    from pathlib import Path

LONG = "x" * 390
"""An id of an account, so that the event's id has 400 bytes and more."""


class Opened(Event):
    account: str


class Greet(Command):
    account: str


class Greeted(Event):
    account: str


class Note(Command):
    place: str


class Noted(Event):
    place: str


bank = Domain("bank")
told: list[str] = []


@bank.register
class Desk(Aggregate, identity="place"):
    @handle(Note)
    def note(self, command: Note) -> Noted:
        return Noted(self.id)


@bank.register
class Diary(ProcessManager, stateless=True):
    @handle(Opened)
    def on_opened(self, event: Opened) -> None:
        self.issue(Note("here"))

    @after(Opened)
    def tell(self, event: Opened) -> None:
        told.append(self.id)


def test_an_event_whose_id_is_too_long_for_an_instance_is_handled_and_shown(
    tmp_path: Path,
) -> None:
    told.clear()
    with Runtime(tmp_path, bank) as runtime:
        for _ in range(10):
            runtime.publish(Opened("a"), stream=f"bank-{LONG}")
        runtime.settle(timeout=10)
        assert list(runtime.parked()) == []
        events = [one.event_id for one in runtime.events(f"bank-{LONG}")]
        assert max(len(one) for one in events) == 398
    longer = f"bank-{LONG}xxx"
    with Runtime(tmp_path, bank) as runtime:
        for _ in range(12):
            runtime.publish(Opened("a"), stream=longer)
        runtime.settle(timeout=10)
        assert list(runtime.parked()) == []
        events = [one.event_id for one in runtime.events(longer)]
        assert max(len(one) for one in events) == 401
        ids = []
        for event_id in events:
            [why] = runtime.why(event_id)
            assert (why.outcome, why.detail) == ("stepped", "version 1 by on_opened")
            [step] = runtime.history(Diary, event_id)
            assert step.cause == event_id
            view = runtime.get(Diary, event_id)
            assert view is not None
            assert view.id == why.instance
            ids.append(view.id)
            tree = str(runtime.trace(event_id))
            assert "on_opened" in tree
            assert "bank.Noted" in tree
        assert len(set(ids)) == 12
        # An id that fits is the event's own; one that does not begins as it does.
        assert ids[0] == events[0]
        assert ids[11].startswith(events[11][:100])
        assert len(ids[11]) < 200
        # What it issued leads back to it.
        [issued] = [
            one for one in runtime.events("bank::desk") if ids[11] in (one.causation_id or "")
        ]
        assert events[11] in str(runtime.trace(issued.event_id))
        assert len(told) == len(set(told)) == 22
        assert runtime.verify() == []
    # None of it again.
    with Runtime(tmp_path, bank) as runtime:
        runtime.settle(timeout=10)
        assert len(list(runtime.events("bank::desk"))) == 22


def test_it_is_handled_once_whatever_is_brought_again() -> None:
    with Simulation(bank) as run:
        for _ in range(12):
            run.publish(Opened("a"), stream=f"bank-{LONG}xxx")
        run.run()
        run.crash()
        run.run()
        assert len(list(run.events("bank::desk"))) == 12
        assert list(run.parked()) == []
