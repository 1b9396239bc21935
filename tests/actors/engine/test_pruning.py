"""What was complete for long enough leaves the store, and nothing is done twice because of it."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    Aggregate,
    AlreadyEnded,
    Command,
    Domain,
    Event,
    IdReused,
    Indexed,
    ProcessManager,
    Pruned,
    Rejected,
    Runtime,
    after,
    apply,
    handle,
    timeout,
)
from procession.store import DictionaryEngine
from procession.testing import VirtualClock
from tests.postgresql import shared_server

DAY = timedelta(days=1)


class Place(Command):
    order_id: str


class Pay(Command):
    order_id: str


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str
    receipt: str


class Shipped(Event):
    order_id: str


class Returned(Event):
    receipt: str


class Counted(Event):
    order_id: str
    audit: str


def shop(
    *,
    retention: timedelta | None = DAY,
    orders: timedelta | None = DAY,
    restart: bool = False,
    audits: bool = False,
) -> Domain:
    """Orders that are paid, shipped from outside, and may come back by their receipt."""
    domain = Domain("shop")

    @domain.register
    class Order(Aggregate, identity="order_id", retention=orders):
        is_placed: bool = False

        @handle(Place)
        def place(self, command: Place) -> Placed:
            if self.is_placed:
                raise Rejected("was placed")
            return Placed(order_id=self.id)

        @apply(Placed)
        def placed(self, event: Placed) -> None:
            self.is_placed = True

    @domain.register
    class Payment(Aggregate, identity="order_id", retention=orders):
        @handle(Pay)
        def pay(self, command: Pay) -> Paid:
            return Paid(order_id=self.id, receipt=f"r-{self.id}")

    @domain.register
    class Fulfil(
        ProcessManager, correlate="order_id", retention=retention, restart=restart, late="skip"
    ):
        order_id: str = ""
        receipt: Indexed[str] = ""
        returns: int = 0

        @handle(Placed, start=True)
        def placed(self, event: Placed) -> None:
            self.issue(Pay(order_id=event.order_id))
            self.set_timeout("slow", timedelta(hours=3))

        @handle(Paid)
        def paid(self, event: Paid) -> None:
            self.receipt = event.receipt

        @handle(Returned, correlate={"receipt": "receipt"})
        def returned(self, event: Returned) -> None:
            self.returns += 1

        @timeout("slow")
        def slow(self) -> None:
            pass

        @handle(Shipped, end=True)
        def shipped(self, event: Shipped) -> None:
            self.cancel_timeout("slow")

    if audits:

        @domain.register
        class Audit(ProcessManager, correlate="audit"):
            audit: str = ""
            seen: int = 0

            @handle(Counted, start=True)
            def counted(self, event: Counted) -> None:
                self.seen += 1

    return domain


def named(domain: Domain, name: str) -> Any:
    """A class of a domain, by its name."""
    return next(cls for cls in (*domain.processes, *domain.aggregates) if cls.__name__ == name)


class Kept:
    """A store that is opened again and again, and its clock."""

    def __init__(self, domain: Domain, **options: Any) -> None:
        self.domain, self.options = domain, options
        self.engine = DictionaryEngine()
        self.clock = VirtualClock()
        self.open()

    def open(self) -> None:
        options = {"workers": 1, "control": False, **self.options}
        self.runtime = Runtime(self.engine, self.domain, clock=self.clock, **options)

    def reopen(self) -> None:
        """Close it, and open it on the same tables."""
        self.runtime.close()
        self.engine = self.engine.beside()
        self.open()

    def complete(self, *names: str) -> None:
        """Orders from their beginning to their end."""
        for name in names:
            self.runtime.ask(Place(order_id=name), command_id=f"place-{name}")
            self.runtime.settle(5)
            self.runtime.publish(
                Shipped(order_id=name), stream=f"post-{name}", event_id=f"s-{name}"
            )
        self.runtime.settle(5)

    def wait(self, time: timedelta) -> None:
        self.clock.advance(time)
        self.runtime.settle(5)

    def fulfil(self, name: str) -> Any:
        return self.runtime.get(named(self.domain, "Fulfil"), name)

    def view(self, cls: Any, name: str) -> Any:
        return self.runtime.get(cls, name)

    def rows(self, table: str) -> int:
        with self.runtime._store.snapshot() as snapshot:
            return snapshot.count(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            assert list(self.runtime.verify()) == []
        self.runtime.close()


def test_a_complete_instance_leaves_with_its_events_when_its_time_is_over() -> None:
    with Kept(shop()) as kept:
        kept.complete("o1", "o2")
        kept.wait(DAY / 2)
        assert len(list(kept.runtime.events())) == 6
        kept.wait(DAY)
        assert [event.position for event in kept.runtime.events()] == [6]
        assert kept.rows("transitions") == 2
        assert kept.rows("tombstones") == 5


def test_a_view_of_a_pruned_instance_says_that_it_was_complete_and_when_it_was_pruned() -> None:
    with Kept(shop()) as kept:
        kept.complete("o1")
        ended = kept.clock.now()
        kept.wait(2 * DAY)
        view = kept.fulfil("o1")
        assert view.is_complete
        assert view.status == "complete"
        assert view.state == {}
        assert view.pruned_at > ended + DAY


def test_an_instance_that_runs_keeps_all_that_it_came_of() -> None:
    with Kept(shop()) as kept:
        kept.runtime.ask(Place(order_id="slow"))
        kept.complete("o1")
        kept.wait(9 * DAY)
        fulfil = named(kept.domain, "Fulfil")
        assert [one.handler for one in kept.runtime.history(fulfil, "slow")] == [
            "placed",
            "paid",
            "slow",
        ]
        streams = {event.stream for event in kept.runtime.events()}
        assert {"shop::order-slow", "shop::payment-slow"} <= streams


def test_a_start_event_that_comes_again_under_its_id_is_still_a_duplicate() -> None:
    domain = Domain("billing")

    @domain.register
    class Case(ProcessManager, correlate="order_id", retention=DAY):
        starts: int = 0

        @handle(Placed, start=True, end=True)
        def placed(self, event: Placed) -> None:
            self.starts += 1

    with Kept(domain) as kept:
        first = kept.runtime.publish(Placed(order_id="o1"), stream="in-1", event_id="e1")
        kept.runtime.publish(Placed(order_id="o2"), stream="in-1", event_id="e2")
        kept.wait(3 * DAY)
        assert kept.rows("log") == 1
        again = kept.runtime.publish(Placed(order_id="o1"), stream="in-1", event_id="e1")
        assert again == first
        with pytest.raises(IdReused, match=r"billing\.Placed\.v1"):
            kept.runtime.publish(Placed(order_id="o3"), stream="in-1", event_id="e1")
        kept.runtime.settle(5)
        assert len(list(kept.runtime.history(Case, "o1"))) == 1


def test_an_event_for_a_pruned_instance_is_taken_as_for_a_complete_one() -> None:
    with Kept(shop()) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        before = kept.fulfil("o1").version
        kept.runtime.publish(Shipped(order_id="o1"), stream="post-o1")
        # By its learnt key as well, which finds it although its state is gone.
        kept.runtime.publish(Returned(receipt="r-o1"), stream="post-o1")
        kept.runtime.settle(5)
        assert kept.fulfil("o1").version == before
        assert kept.runtime.stats()["skipped_complete"] == 2
        assert kept.runtime.stats()["held"] == 0


def test_what_a_command_from_outside_made_is_not_made_again_when_it_is_pruned() -> None:
    with Kept(shop()) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        kept.reopen()
        with pytest.raises(Pruned, match=r"place-o1.*carried out before"):
            kept.runtime.ask(Place(order_id="o1"), command_id="place-o1")
        assert kept.runtime.tell(Place(order_id="o1"), command_id="place-o1") == "place-o1"
        kept.runtime.settle(5)
        assert not [one for one in kept.runtime.events() if one.type == "shop.Placed.v1"]


def test_positions_and_versions_go_on_where_they_were() -> None:
    with Kept(shop()) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        for _ in range(2):
            reply = kept.runtime.ask(Place(order_id="o1"))
            (event,) = kept.runtime.events("shop::order-o1")
            assert (reply.position, event.version, event.event_id) == (4, 2, "shop::order-o1@2")
            # The aggregate is the same when it is read again.
            kept.reopen()
            with pytest.raises(Rejected, match="was placed"):
                kept.runtime.ask(Place(order_id="o1"))
            break


def test_an_id_that_restarts_goes_on_behind_its_tombstone() -> None:
    with Kept(shop(restart=True)) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        kept.runtime.ask(Place(order_id="o1"))
        kept.runtime.settle(5)
        kept.reopen()
        view = kept.fulfil("o1")
        assert (view.version, view.status, view.pruned_at) == (6, "running", None)
        kept.runtime.publish(Shipped(order_id="o1"), stream="post-o1")
        kept.wait(3 * DAY)
        assert kept.fulfil("o1").version == 8
        assert kept.rows("transitions") == 1


def test_an_aggregate_without_retention_keeps_the_events_that_it_is_made_of() -> None:
    with Kept(shop(orders=None)) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        kept.reopen()
        assert [one.type for one in kept.runtime.events()] == [
            "shop.Placed.v1",
            "shop.Paid.v1",
            "shop.Shipped.v1",
        ]
        with pytest.raises(Rejected, match="was placed"):
            kept.runtime.ask(Place(order_id="o1"))


def counting(every: int, added: int = 0) -> tuple[Domain, type, type]:
    """Counters, which take snapshots; the code that applies may be another one."""
    domain = Domain("count")

    class Add(Command):
        counter: str

    class Added(Event):
        counter: str

    @domain.register
    class Counter(Aggregate, identity="counter", snapshot_every=every):
        total: int = 0

        @handle(Add)
        def add(self, command: Add) -> Added:
            return Added(counter=self.id)

        if added:

            @apply(Added)
            def _added(self, event: Added) -> None:
                self.total += 1
                self.total += 0

        else:

            @apply(Added)
            def _added(self, event: Added) -> None:
                self.total += 1

    @domain.register
    class Once(ProcessManager, stateless=True, retention=DAY):
        @handle(Added)
        def added(self, event: Added) -> None:
            pass

    return domain, Add, Counter


def test_a_stream_is_cut_behind_its_snapshot_and_its_aggregate_is_the_same() -> None:
    domain, add, counter = counting(every=4)
    with Kept(domain) as kept:
        for _ in range(10):
            kept.runtime.ask(add(counter="c"))
        kept.wait(3 * DAY)
        assert [one.version for one in kept.runtime.events("count::counter-c")] == [9, 10]
        kept.reopen()
        assert kept.view(counter, "c").state == {"total": 10}
        kept.runtime.ask(add(counter="c"))
        kept.reopen()
        assert kept.view(counter, "c").state == {"total": 11}


def test_other_code_goes_on_from_the_snapshot_of_a_stream_that_was_cut() -> None:
    domain, add, _ = counting(every=4)
    with Kept(domain) as kept:
        for _ in range(8):
            kept.runtime.ask(add(counter="c"))
        kept.wait(3 * DAY)
        kept.domain, add, counter = counting(every=4, added=1)
        kept.reopen()
        kept.runtime.ask(add(counter="c"))
        assert kept.view(counter, "c").state == {"total": 9}


def test_an_event_stays_until_the_after_effects_of_all_have_passed_it() -> None:
    domain, ran = Domain("mail"), []

    class Broken(Exception):
        pass

    @domain.register
    class Mail(ProcessManager, correlate="order_id", retention=DAY):
        @handle(Placed, start=True, end=True)
        def placed(self, event: Placed) -> None:
            pass

        @after(Placed)
        def send(self, event: Placed) -> None:
            ran.append(event.order_id)
            raise Broken

    # One after the other, so that what is parked last, and decided, is of the newest event.
    with Kept(domain, effect_threads=1) as kept:
        kept.runtime.publish(Placed(order_id="o1"), stream="in-1")
        kept.runtime.publish(Placed(order_id="o2"), stream="in-1")
        kept.wait(3 * DAY)
        # What is parked of an after-effect is not done.
        assert [one.position for one in kept.runtime.events()] == [1, 2]
        for parked in list(kept.runtime.parked()):
            kept.runtime.skip(parked.id)
        kept.wait(3 * DAY)
        assert [one.position for one in kept.runtime.events()] == [2]
        assert ran == ["o1", "o2"]
        assert kept.rows("decided") == 1, "the newest says how far their numbers go"


def test_what_goes_is_in_the_archive_before_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl.gz"
    with Kept(shop(), archive=file) as kept:
        kept.complete("o1", "o2")
        kept.wait(3 * DAY)
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    events = [line for line in lines if line["kind"] == "event"]
    assert sorted(line["position"] for line in events) == [1, 2, 3, 4, 5]
    assert events[0]["data"] == {"order_id": "o1"}
    transitions = [line for line in lines if line["kind"] == "transition"]
    assert {line["instance"] for line in transitions} == {"o1", "o2"}
    assert {"order_id": "o1", "receipt": "r-o1", "returns": 0} in [
        line["state"] for line in transitions
    ]


def test_nothing_goes_that_the_archive_did_not_take() -> None:
    def full(lines: object) -> None:
        raise OSError("no space left")

    with Kept(shop(retention=None), archive=full) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        with pytest.raises(OSError, match="no space left"):
            kept.runtime.prune(before=kept.clock.now())
        assert len(list(kept.runtime.events())) == 3
        taken: list[Any] = []
        report = kept.runtime.prune(before=kept.clock.now(), archive=taken.extend)
        assert (report.events, len(taken)) == (2, 5)


def test_ids_go_when_their_time_is_over_and_an_id_begins_anew_then() -> None:
    with Kept(shop(), id_retention=5 * DAY) as kept:
        kept.complete("o1", "o2")
        kept.wait(3 * DAY)
        assert kept.rows("command_ids") == 2
        kept.wait(9 * DAY)
        kept.reopen()
        assert kept.fulfil("o1") is None
        assert kept.rows("tombstones") == 0
        assert kept.rows("command_ids") == 0
        assert kept.rows("index") == 1, "the newest transition says how far their numbers go"
        reply = kept.runtime.ask(Place(order_id="o1"), command_id="place-o1")
        assert reply.position == 7
        kept.runtime.settle(5)
        assert kept.fulfil("o1").version == 2


def test_what_is_asked_of_a_pruned_event_or_instance_says_that_it_was_pruned() -> None:
    with Kept(shop()) as kept:
        kept.complete("o1")
        kept.runtime.ask(Place(order_id="o2"))
        kept.wait(3 * DAY)
        runtime, fulfil = kept.runtime, named(kept.domain, "Fulfil")
        for asked in ("shop::order-o1@1", "place-o1"):
            with pytest.raises(Pruned, match=r"shop::order-o1@1.*was pruned"):
                runtime.trace(asked)
        with pytest.raises(Pruned, match="was pruned"):
            runtime.why("shop::order-o1@1")
        with pytest.raises(Pruned, match="o1"):
            _ = kept.fulfil("o1").copy
        (left,) = runtime.history(fulfil, "o1")
        assert (left.handler, left.state) == ("pruned", {})
        assert [view.id for view in runtime.find(fulfil)] == ["o2"]
        order = kept.view(named(kept.domain, "Order"), "o1")
        assert (order.is_pruned, order.state, order.version) == (True, {}, 1)


def test_an_operator_changes_nothing_of_a_pruned_instance() -> None:
    with Kept(shop()) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        runtime, fulfil = kept.runtime, named(kept.domain, "Fulfil")
        version = kept.fulfil("o1").version
        assert runtime.refresh(fulfil, "o1") == 0
        assert runtime.refresh(fulfil) == 0
        assert runtime.rebuild(fulfil).rebuilt == 0
        with pytest.raises(Pruned, match="nothing of it to amend"):
            runtime.amend(fulfil, "o1", receipt="r-2")
        with pytest.raises(AlreadyEnded):
            runtime.end(fulfil, "o1", reason="late")
        assert kept.fulfil("o1").version == version


def test_who_begins_at_the_origin_of_a_pruned_log_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Kept(shop()) as kept:
        kept.complete("o1")
        kept.wait(3 * DAY)
        seen = []

        class Late(ProcessManager, correlate="order_id", begin="origin"):
            @handle(Placed, start=True)
            def placed(self, event: Placed) -> None:
                pass

            @handle(Shipped)
            def shipped(self, event: Shipped) -> None:
                seen.append(event.order_id)

        kept.runtime.close()
        kept.domain.register(Late)
        kept.engine = kept.engine.beside()
        kept.open()
        assert "shop.Late goes through the log from position 0 on" in caplog.text
        assert "pruned up to position 2" in caplog.text
        caplog.clear()
        kept.runtime.rebuild(Late)
        assert "shop.Late goes through the log" in caplog.text


def test_pruning_asks_for_moments_with_a_zone() -> None:
    with Kept(shop()) as kept:
        with pytest.raises(ValueError, match=r"before=.*a zone"):
            kept.runtime.prune(before=datetime.now(UTC).replace(tzinfo=None))
        with pytest.raises(ValueError, match=r"ids_before=.*a zone"):
            kept.runtime.prune(
                before=datetime.now(UTC), ids_before=datetime.now(UTC).replace(tzinfo=None)
            )


@pytest.mark.parametrize("retention", [-DAY, 7, "a day"])
def test_a_retention_that_is_no_time_is_refused(retention: Any) -> None:
    with pytest.raises(Exception, match=r"retention=.*timedelta\(days=90\)"):
        shop(retention=retention)


NAMES = st.sampled_from(["a", "b", "c"])
ACTS = st.one_of(
    st.tuples(st.just("place"), NAMES, st.integers(1, 3)),
    st.tuples(st.just("ship"), NAMES, st.integers(1, 3)),
    st.tuples(st.just("return"), NAMES),
    st.tuples(st.just("audit"), NAMES, NAMES),
    st.tuples(st.just("wait"), st.sampled_from([1, 2, 30])),
    st.tuples(st.just("prune")),
    st.tuples(st.just("reopen")),
)


def said(kept: Kept, act: tuple[Any, ...]) -> object:
    """What a runtime answers to an act."""
    runtime = kept.runtime
    try:
        if act[0] == "place":
            given = f"p-{act[1]}{act[2]}"
            return list(runtime.ask(Place(order_id=act[1]), command_id=given))
        if act[0] == "ship":
            given = f"s-{act[1]}{act[2]}"
            return runtime.publish(Shipped(order_id=act[1]), stream="post-1", event_id=given)
        if act[0] == "return":
            return runtime.publish(Returned(receipt=f"r-{act[1]}"), stream="post-2")
        if act[0] == "audit":
            return runtime.publish(Counted(order_id=act[1], audit=act[2]), stream="post-3")
        if act[0] == "wait":
            kept.wait(timedelta(hours=act[1]))
        elif act[0] == "reopen":
            kept.reopen()
    except Pruned:
        return Pruned
    except Rejected as error:
        return str(error)
    finally:
        kept.runtime.settle(5)
    return None


@settings(max_examples=15, deadline=None)
@given(st.lists(ACTS, max_size=16))
def test_one_that_prunes_says_what_one_that_keeps_all_says(acts: list[tuple[Any, ...]]) -> None:
    """But for what was pruned: of that, that it was there."""
    # Its aggregates stay, so that what they say is the same.
    domain = shop(retention=None, orders=None, restart=True, audits=True)
    with Kept(domain) as all_kept, Kept(domain) as pruned:
        for act in acts:
            if act[0] == "prune":
                pruned.runtime.prune(before=pruned.clock.now())
                assert list(pruned.runtime.verify()) == []
                continue
            expected, found = said(all_kept, act), said(pruned, act)
            assert found == expected or found is Pruned
        fulfil, audit = named(domain, "Fulfil"), named(domain, "Audit")
        for cls in (fulfil, audit):
            for name in "abc":
                expected_view = all_kept.runtime.get(cls, name)
                view = pruned.runtime.get(cls, name)
                assert (view is None) == (expected_view is None)
                if view is None or expected_view is None:
                    continue
                assert (view.status, view.is_complete) == (
                    expected_view.status,
                    expected_view.is_complete,
                )
                if view.pruned_at is None:
                    assert view.state == expected_view.state
        events = {one.position: one for one in all_kept.runtime.events()}
        for one in pruned.runtime.events():
            assert one == events[one.position]
        assert pruned.runtime.stats()["events"] == all_kept.runtime.stats()["events"]


@pytest.mark.parametrize("where", ["folder", "postgresql", "partitions"])
def test_it_prunes_in_a_file_in_a_database_and_in_partitions(where: str, tmp_path: Path) -> None:
    clock, options = VirtualClock(), dict[str, Any](control=False)
    place = shared_server().new_url() if where == "postgresql" else str(tmp_path / "store")
    if where == "partitions":
        options["partitions"] = 2
    domain, archive = shop(), tmp_path / "gone.jsonl"
    options["archive"] = archive
    with Runtime(place, domain, clock=clock, **options) as runtime:
        for name in ("o1", "o2", "o3"):
            runtime.ask(Place(order_id=name), command_id=f"place-{name}")
            runtime.settle(20)
            runtime.publish(Shipped(order_id=name), stream=f"post-{name}", event_id=f"s-{name}")
        runtime.settle(20)
        clock.advance(2 * DAY)
        report = runtime.prune(before=clock.now(), ids_before=clock.now() - 9 * DAY)
        assert report.forgotten == 0
        left = list(runtime.events())
        assert len(left) <= (1 if where != "partitions" else 2)
        assert list(runtime.verify()) == []
        fulfil = named(domain, "Fulfil")
        for name in ("o1", "o2", "o3"):
            view = runtime.get(fulfil, name)
            assert view is not None
            assert view.pruned_at is not None
    with Runtime(place, domain, clock=clock, **options) as runtime:
        with pytest.raises(Pruned):
            runtime.ask(Place(order_id="o1"), command_id="place-o1")
        assert list(runtime.verify()) == []
