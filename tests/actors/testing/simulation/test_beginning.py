"""What a run begins with: what another simulation, or a store in a folder, has stored."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    StoreError,
    WrongCodec,
    handle,
    timeout,
)
from procession.encryption import AesGcm, SqliteKeys
from procession.testing import (
    CounterExample,
    Simulation,
    VirtualClock,
    ends_within,
    explore,
)
from tests.actors.testing.simulation.selling import Order, Place, Selling, rows_of, shop, texts
from tests.coding import Reversed

MINUTE = timedelta(minutes=1)


def test_a_run_begins_where_another_ended_and_leaves_it_as_it_was() -> None:
    with Simulation(shop) as before:
        before.ask(Place("o1", 2_000))
        before.advance(5 * MINUTE)
        rows = rows_of(before)
        with Simulation(shop, program=[Place("o2")], store=before) as after:
            assert after.now == before.now
            assert rows_of(after) == rows
            after.run()
            assert [type(after.get(Order, one)) for one in ("o1", "o2")] == [
                type(before.get(Order, "o1"))
            ] * 2
            view = after.get(Selling, "o1")
            assert view is not None
            assert view.state["status"] == "late"
        assert rows_of(before) == rows


def test_runs_that_follow_one_another_make_no_id_twice() -> None:
    with Simulation(shop, program=[Place("o1")]) as first:
        first.run()
        with Simulation(shop, program=[Place("o2")], store=first) as second:
            second.ask(Place("o3"))
            second.run()
            with Simulation(shop, program=[Place("o4")], store=second) as third:
                third.ask(Place("o5"))
                third.run()
                assert not [one for one in texts(third) if "refused" in one]
                names = [one.event_id for one in third.events()]
                assert len(set(names)) == len(names)
                assert [third.get(Order, f"o{one}") is None for one in range(1, 6)] == [False] * 5


def test_a_run_begins_with_what_a_store_in_a_folder_has_and_does_not_write_there(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(datetime(2024, 1, 1, tzinfo=UTC))
    with Runtime(tmp_path / "shop", shop, clock=clock) as runtime:
        runtime.ask(Place("o1", 2_000))
        clock.advance(10 * MINUTE)
        runtime.ask(Place("o2"))
        runtime.settle(timeout=10)
        # A service may be running meanwhile.
        with Simulation(shop, store=tmp_path / "shop") as simulation:
            assert simulation.now == clock.now()
            assert simulation.get(Selling, "o1") == runtime.get(Selling, "o1")
            simulation.advance(20 * MINUTE)
            assert simulation.get(Selling, "o1") != runtime.get(Selling, "o1")
        with pytest.raises(StoreError):
            Simulation(shop, store=str(tmp_path / "none"))


@pytest.mark.parametrize("partitions", [None, 3], ids=["whole", "divided"])
def test_a_run_begins_with_what_an_encrypted_store_has_and_has_no_codec(
    tmp_path: Path, partitions: int | None
) -> None:
    codec = AesGcm(SqliteKeys(tmp_path / "keys"))
    place, names = tmp_path / "shop", [f"o{number}" for number in range(5)]
    nodes = None if partitions is None else 2
    with Runtime(place, shop, clock=VirtualClock(), codec=codec, partitions=partitions) as runtime:
        for name in names:
            runtime.ask(Place(name, 2_000))
        runtime.settle(timeout=10)
        with Simulation(shop, store=place, codec=codec, nodes=nodes) as simulation:
            for name in names:
                assert simulation.get(Selling, name) == runtime.get(Selling, name) is not None
            simulation.advance(10 * MINUTE)
            simulation.ask(Place("o9"))
            simulation.settle()
            assert simulation.get(Order, "o9") is not None
            assert simulation.verify() == []
            # What it has stored is in plain words, so that another run needs no codec.
            with Simulation(shop, store=simulation, nodes=nodes) as after:
                assert after.get(Order, "o9") is not None
        found = explore(
            shop, [Place("o7")], store=place, codec=codec, nodes=nodes, max_examples=2, seed=1
        )
        assert found.runs == 2
        for wrong in (None, Reversed()):
            with pytest.raises(WrongCodec):
                Simulation(shop, store=place, codec=wrong, nodes=nodes)


class Open(Command):
    account: str


class Opened(Event):
    account: str


class Account(Aggregate, identity="account"):
    @handle(Open)
    def open_it(self, command: Open) -> Opened:
        return Opened(self.id)


class Welcoming(ProcessManager, correlate="account", name="bank.Welcoming"):
    account: str = ""

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.set_timeout("greet", timedelta(days=1))

    @timeout("greet")
    def on_greet(self) -> None:
        self.mark_as_complete()


class Greeting(ProcessManager, correlate="account", name="bank.Welcoming"):
    """The next version, in which the timeout has another name; what is under way has the old."""

    account: str = ""

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.set_timeout("welcome", timedelta(days=1))

    @timeout("welcome")
    def on_welcome(self) -> None:
        self.mark_as_complete()


class Careful(Greeting, correlate="account", name="bank.Welcoming"):
    """The next version, which knows the old name as well."""

    @timeout("greet")
    def on_greet(self) -> None:
        self.mark_as_complete()


def bank(manager: type[ProcessManager]) -> Domain:
    domain = Domain("bank")
    domain.register(Account, manager)
    return domain


old, broken, mended = bank(Welcoming), bank(Greeting), bank(Careful)
LIMIT = timedelta(days=2)


def test_old_logs_are_met_by_new_code_in_every_run_of_an_exploration() -> None:
    with Simulation(old) as simulation:
        simulation.ask(Open("a1"))
        explore(mended, [Open("a2")], [ends_within(Careful, LIMIT)], store=simulation)
        with pytest.raises(CounterExample):
            explore(broken, [Open("a2")], [ends_within(Greeting, LIMIT)], store=simulation)


def test_an_upgrade_in_the_middle_of_a_run_is_found_to_break_what_is_under_way() -> None:
    program, promises = [Open("a1")], [ends_within(Welcoming, LIMIT)]
    coverage = explore(old, program, promises, upgrade=mended)
    assert "Careful.on_welcome(welcome)" in coverage.handlers
    assert coverage.kinds["upgrade"] > 20
    explore(broken, program, [ends_within(Greeting, LIMIT)])
    with pytest.raises(CounterExample) as raised:
        explore(old, program, promises, upgrade=broken)
    text = str(raised.value)
    assert "upgrade: the process ends, and another version of the domains goes on" in text
    assert len(raised.value.trace.essential) <= 7, text
    with pytest.raises(CounterExample) as again:
        explore(old, program, promises, upgrade=broken, seed=raised.value.seed)
    assert str(again.value) == text


def test_without_another_version_no_run_is_spent_on_an_upgrade() -> None:
    assert "upgrade" not in explore(old, [Open("a1")], max_examples=5).kinds


class OpenToday(Command, name="bank.Open.v1"):
    account: str
    owner: str = "nobody"


class OpenedToday(Event, name="bank.Opened.v1"):
    account: str


class AccountToday(Aggregate, identity="account", category="account"):
    owner: str = ""

    @handle(OpenToday)
    def open_it(self, command: OpenToday) -> OpenedToday:
        return OpenedToday(self.id)


class WelcomingToday(ProcessManager, correlate="account", name="bank.Welcoming"):
    account: str = ""

    @handle(OpenedToday, start=True)
    def on_opened(self, event: OpenedToday) -> None:
        self.set_timeout("greet", timedelta(days=1))

    @timeout("greet")
    def on_greet(self) -> None:
        self.mark_as_complete()


def test_an_upgrade_reads_what_is_still_brought_and_either_class_names_what_is_there() -> None:
    today = Domain("bank")
    today.register(AccountToday, WelcomingToday)

    program = [Open("a1"), timedelta(hours=1), Open("a2")]
    with Simulation(old, program=program) as simulation:
        while simulation.step():
            pass
        simulation.upgrade(today)
        assert simulation.knows(Welcoming)
        simulation.run()
        for manager in (Welcoming, WelcomingToday):
            assert [one.id for one in simulation.find(manager, complete=True)] == ["a1", "a2"]
        assert simulation.get(Account, "a2") == simulation.get(AccountToday, "a2")
        assert type(list(simulation.events())[1].event) is OpenedToday


def test_an_upgrade_in_which_a_name_has_lost_its_class_is_refused_and_may_retire_it() -> None:
    other = Domain("bank")
    other.register(Account)
    with Simulation(old) as simulation:
        simulation.ask(Open("a1"))
        with pytest.raises(DefinitionError, match=r"bank\.Welcoming"):
            simulation.upgrade(other)
    with Simulation(old, retired=["bank.Welcoming"]) as simulation:
        simulation.ask(Open("a1"))
        simulation.upgrade(other)
        assert simulation.get(Account, "a1") is not None
