"""Two operators at once: each decision has one winner, and the others are told what was decided."""

import pickle
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    AlreadyDecided,
    Command,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Projection,
    Runtime,
    StoreError,
    after,
    handle,
    project,
    timeout,
)
from procession.engine.journal import Journal
from procession.projections import Documents
from procession.store import Duplicate, Store
from procession.testing import Simulation, VirtualClock

WAIT = 30

mill = Domain("mill")


class Brought(Event):
    sack: str


class Ground(Event):
    sack: str


class Bag(Command):
    sack: str


class Lost(Event):
    sack: str


class Fails:
    """What fails, so that it is parked: a kind of thing that may be."""

    kinds: set[str] = set()
    ran: list[str] = []


def maybe_fail(kind: str) -> None:
    Fails.ran.append(kind)
    if kind in Fails.kinds:
        raise ValueError(kind)


@mill.register
class Bags(Aggregate, identity="sack"):
    @handle(Bag)
    def bag(self, command: Bag) -> None:
        maybe_fail("command")


def sack_of(event: Lost) -> str:
    maybe_fail("correlation")
    return event.sack


@mill.register
class Sack(ProcessManager, correlate="sack"):
    sack: str = ""
    ground: int = 0

    @handle(Brought, start=True)
    def brought(self, event: Brought) -> None:
        self.set_timeout("rots", timedelta(days=1))
        self.issue(Bag(event.sack))

    @handle(Ground)
    def grind(self, event: Ground) -> None:
        self.ground += 1
        maybe_fail("event")

    @handle(Lost, correlate=sack_of)
    def lose(self, event: Lost) -> None:
        pass

    @timeout("rots")
    def rots(self) -> None:
        maybe_fail("timeout")

    @after(Brought)
    def weigh(self, event: Brought) -> None:
        maybe_fail("effect")


KINDS = ["event", "timeout", "command", "effect", "correlation"]
DECISIONS = ["retry", "skip"]


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    Fails.kinds, Fails.ran = set(), []
    yield
    Fails.kinds, Fails.ran = set(), []


def park(run: Any, kind: str, *sacks: str) -> None:
    """Have one thing of a kind parked for each sack."""
    Fails.kinds = {kind}
    for sack in sacks:
        for event in (Brought(sack), Ground(sack), Lost(sack)):
            run.publish(event, stream=f"mill::sack-{sack}")
    run.settle()
    if kind == "timeout":
        run.advance(timedelta(days=2))
        run.settle()
    Fails.kinds, Fails.ran = set(), []


def laid_together(
    monkeypatch: pytest.MonkeyPatch, simulation: Simulation, *, second_is_quicker: bool
) -> Callable[[Callable[[], None], Callable[[], None]], list[AlreadyDecided | None]]:
    """Has two decisions made of which each has seen what is parked before the other is written."""
    add = Journal.add

    def both(first: Callable[[], None], second: Callable[[], None]) -> list[AlreadyDecided | None]:
        told: list[AlreadyDecided | None] = [None, None]

        def decide_second() -> None:
            try:
                second()
            except AlreadyDecided as error:
                told[1] = error

        def add_both(journal: Journal, work: Any) -> None:
            monkeypatch.setattr(Journal, "add", add)
            if second_is_quicker:
                decide_second()
            add(journal, work)
            if not second_is_quicker:
                decide_second()

        monkeypatch.setattr(Journal, "add", add_both)
        try:
            first()
        except AlreadyDecided as error:
            told[0] = error
        monkeypatch.setattr(Journal, "add", add)
        return told

    return both


@pytest.mark.parametrize("second_is_quicker", [True, False])
@pytest.mark.parametrize("second", DECISIONS)
@pytest.mark.parametrize("first", DECISIONS)
@pytest.mark.parametrize("kind", ["event", "timeout", "command", "correlation"])
def test_in_either_order_one_decision_wins_and_the_other_is_told_of_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, first: str, second: str, second_is_quicker: bool
) -> None:
    with Simulation(mill) as simulation:
        park(simulation, kind, "a")
        (parked,) = simulation.parked()
        both = laid_together(monkeypatch, simulation, second_is_quicker=second_is_quicker)
        told = both(
            lambda: getattr(simulation, first)(parked.id, by="ada"),
            lambda: getattr(simulation, second)(parked.id, by="ben"),
        )
        winner = ("ben", second) if second_is_quicker else ("ada", first)
        loser = told[0] if second_is_quicker else told[1]
        assert loser is not None
        assert told.count(None) == 1
        assert (loser.by, loser.decision, loser.parked_id) == (*winner, parked.id)
        simulation.settle()
        (decided,) = simulation.parked(decided=True)
        assert (decided.decided_by, decided.decision) == winner
        assert decided.decided_at == loser.time
        # What was decided was done, and once.
        if kind == "correlation":
            # A retry correlates before it is known who wins.
            return
        assert Fails.ran.count(kind) == (winner[1] == "retry")


@pytest.mark.parametrize("second", DECISIONS)
@pytest.mark.parametrize("first", DECISIONS)
def test_one_decision_about_an_effect_wins_also_while_the_effect_runs(
    first: str, second: str
) -> None:
    with Simulation(mill) as simulation:
        park(simulation, "effect", "a")
        (parked,) = simulation.parked()
        getattr(simulation, first)(parked.id, by="ada")
        # A retry has not run yet, and is not on disk.
        with pytest.raises(AlreadyDecided, match=f"{first} was decided .* by ada"):
            getattr(simulation, second)(parked.id, by="ben")
        simulation.settle()
        (decided,) = simulation.parked(decided=True)
        assert (decided.decision, decided.decided_by) == (first, "ada")
        assert Fails.ran.count("effect") == (first == "retry")
        with pytest.raises(AlreadyDecided, match=f"{first} was decided .* by ada"):
            getattr(simulation, second)(parked.id, by="ben")


def test_what_failed_again_is_decided_under_its_new_id() -> None:
    with Simulation(mill) as simulation:
        park(simulation, "event", "a")
        (old,) = simulation.parked()
        Fails.kinds = {"event"}
        simulation.retry(old.id)
        simulation.settle()
        with pytest.raises(AlreadyDecided, match="retry was decided"):
            simulation.skip(old.id)
        (new,) = simulation.parked()
        simulation.skip(new.id)
        assert new.id > old.id


def test_a_decision_that_the_disk_refused_is_none(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: Store, checkpoints: Any = None) -> None:
        store.drop_commit()
        raise StoreError("no space")

    for kind in ("event", "effect"):
        with Runtime.ephemeral(mill, clock=clock) as runtime:
            park(runtime, kind, "a")
            (parked,) = runtime.parked()
            with monkeypatch.context() as patch:
                patch.setattr(Store, "close_commit", refuse)
                with pytest.raises(StoreError, match="no space"):
                    runtime.skip(parked.id)
            runtime.skip(parked.id)


def test_an_effect_that_cannot_be_retried_is_free_for_another_decision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Simulation(mill) as simulation:
        park(simulation, "effect", "a")
        (parked,) = simulation.parked()
        with monkeypatch.context() as patch:
            patch.setattr(
                "procession.engine.effect_feed.EffectFeed.acts_after", lambda feed, record: False
            )
            with pytest.raises(LookupError, match="has no @after method"):
                simulation.retry(parked.id)
        simulation.skip(parked.id)


def test_a_decision_about_what_the_store_has_lost_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Simulation(mill) as simulation:
        park(simulation, "event", "a")
        (parked,) = simulation.parked()
        hand_over = Store.hand_over
        monkeypatch.setattr(Store, "hand_over", lambda store, step: Duplicate())
        with pytest.raises(StoreError, match="was not decided, since what it is about is gone"):
            simulation.skip(parked.id)
        monkeypatch.setattr(Store, "hand_over", hand_over)


# With threads


def race(*calls: Callable[[], object]) -> list[object]:
    """What each of several threads got that began at once."""
    gate, got = threading.Barrier(len(calls)), [None] * len(calls)

    def run(place: int) -> None:
        gate.wait(WAIT)
        try:
            got[place] = calls[place]()  # type: ignore[call-overload]
        except Exception as error:  # noqa: BLE001 - it is what the operator is told
            got[place] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return list(got)


def in_bulk(runtime: Runtime, decision: str, by: str, ids: list[int]) -> dict[int, object]:
    """What an operator is told who decides about many things, one after the other."""
    told: dict[int, object] = {}
    for number in ids:
        try:
            told[number] = getattr(runtime, decision)(number, by=by)
        except AlreadyDecided as error:
            told[number] = error
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_of_operators_who_decide_in_bulk_at_once_each_thing_has_one_winner(
    clock: VirtualClock, kind: str
) -> None:
    with Runtime.ephemeral(mill, clock=clock) as runtime:
        runtime.advance = clock.advance  # type: ignore[attr-defined]
        park(runtime, kind, *(f"s{number}" for number in range(40)))
        ids = [one.id for one in runtime.parked()]
        assert len(ids) == 40
        operators = [("retry", "ada"), ("skip", "ben"), ("retry", "cid"), ("skip", "dot")]
        calls = [
            lambda decision=decision, by=by: in_bulk(runtime, decision, by, ids)
            for decision, by in operators
        ]
        told: list[Any] = race(*calls)
        runtime.settle(timeout=WAIT)
        decided = {one.id: one for one in runtime.parked(decided=True)}
        assert not list(runtime.parked())
        retried = 0
        for number in ids:
            won = [who for who, said in zip(operators, told, strict=True) if said[number] is None]
            assert won == [(decided[number].decision, decided[number].decided_by)]
            retried += won[0][0] == "retry"
            for said in told:
                error = said[number]
                if error is not None:
                    assert (error.decision, error.by) == won[0]
                    assert error.time == decided[number].decided_at
        if kind != "correlation":
            assert Fails.ran.count(kind) == retried


def test_of_operators_who_cancel_one_timeout_at_once_one_is_told_that_it_was_set(
    clock: VirtualClock,
) -> None:
    with Runtime.ephemeral(mill, clock=clock) as runtime:
        for sack in ("a", "b", "c"):
            runtime.publish(Brought(sack), stream="mill::sacks-1")
            runtime.settle(timeout=WAIT)
            cancel = [lambda sack=sack: runtime.cancel_timeout(Sack, sack, "rots")] * 4
            assert sorted(map(bool, race(*cancel))) == [False, False, False, True]


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("is_whole", [False, True])
def test_a_decision_that_races_with_a_refresh_is_kept_and_so_is_the_refresh(
    clock: VirtualClock, decision: str, is_whole: bool
) -> None:
    with Runtime.ephemeral(mill, clock=clock) as runtime:
        sacks = [f"s{number}" for number in range(20)]
        park(runtime, "event", *sacks)
        since: Any = "origin" if is_whole else None
        decide = getattr(runtime, decision)
        for parked in list(runtime.parked()):
            told = race(
                partial(decide, parked.id, by="ada"),
                partial(decide, parked.id, by="ben"),
                partial(runtime.refresh, Sack, parked.instance, since=since),
            )
            assert told[2] == 1
            assert [type(one) for one in told[:2]].count(AlreadyDecided) == 1
        runtime.settle(timeout=WAIT)
        for sack in sacks:
            view = runtime.get(Sack, sack)
            assert view is not None
            assert view.status == "running"
            assert view.state["ground"] == (decision == "retry")


def test_the_error_says_who_won_and_where_to_look() -> None:
    error = AlreadyDecided(7, "retry", datetime(2024, 2, 29, tzinfo=UTC), "ada")
    assert str(error) == (
        "retry was decided about what was parked under 7 already, at 2024-02-29T00:00:00+00:00 by "
        "ada; parked(decided=True) lists it. If it failed again, it is parked under a new id, "
        "which parked() lists"
    )
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.decision, copy.by) == (str(error), "retry", "ada")


def first_parked(runtime: Runtime) -> int:
    return next(runtime.parked()).id


CALLS: dict[str, Callable[[Any, str], object]] = {
    "retry": lambda runtime, by: runtime.retry(first_parked(runtime), by=by),
    "skip": lambda runtime, by: runtime.skip(first_parked(runtime), by=by),
    "move_timeout": lambda runtime, by: runtime.move_timeout(
        Sack, "s1", "rots", timedelta(days=3), by=by
    ),
    "cancel_timeout": lambda runtime, by: runtime.cancel_timeout(Sack, "s1", "rots", by=by),
    "end": lambda runtime, by: runtime.end(Sack, "s1", reason="lost", by=by),
    "amend": lambda runtime, by: runtime.amend(Sack, "s1", ground=3, by=by),
    "refresh": lambda runtime, by: runtime.refresh(Sack, "s1", by=by),
    "refresh all": lambda runtime, by: runtime.refresh(Sack, by=by),
    "rebuild": lambda runtime, by: runtime.rebuild(Sack, by=by),
    "rebuild tables": lambda runtime, by: runtime.rebuild(Weights, by=by),
    "erase": lambda runtime, by: runtime.erase(Sack, "s1", by=by),
    "erase a stream": lambda runtime, by: runtime.erase(stream="mill::sack-s1", by=by),
    "erase a person": lambda runtime, by: runtime.erase(subject="s1", by=by),
}


@mill.register
class Weights(Projection, database=Documents(int)):
    @project(Ground)
    def ground(self, event: Ground) -> None:
        self.db.put(event.sack, 1)


@pytest.mark.parametrize("partitions", [None, 2], ids=["whole", "divided"])
def test_who_asks_is_someone_or_left_out(tmp_path: Path, partitions: int | None) -> None:
    with Runtime(tmp_path / "mill", mill, partitions=partitions) as runtime:
        park(runtime, "event", "s1")
        commits = runtime.stats()["commits"]
        for call in CALLS.values():
            for by in ("", " \n"):
                with pytest.raises(InvalidMessage, match="leave it out, and no one is recorded"):
                    call(runtime, by)
        assert runtime.stats()["commits"] == commits
        assert len(list(runtime.parked())) == 1
        runtime.skip(first_parked(runtime))
        [parked] = runtime.parked(decided=True)
        assert parked.decision is not None
        assert parked.decided_by is None
