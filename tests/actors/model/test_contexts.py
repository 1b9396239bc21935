"""Where events come from: streams, several domains, other contexts' events; stateless; ALL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from procession import (
    ALL,
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    UnknownEvent,
    handle,
)
from procession.store import LmdbStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def state(runtime: Runtime, cls: type[ProcessManager], name: object) -> dict[str, Any]:
    view = runtime.get(cls, name)
    assert view is not None, f"there is no {cls.__name__} {name!r}"
    return view.state


# Streams


class Weighed(Event):
    parcel: str
    grams: int


class Weigh(Command):
    parcel: str
    grams: int


class Scale(Aggregate, identity="parcel"):
    @handle(Weigh)
    def weigh(self, command: Weigh) -> Weighed:
        return Weighed(self.id, command.grams)


class Everywhere(ProcessManager, correlate="parcel", begin="origin"):
    grams: list[int] = []

    @handle(Weighed, start=True)
    def on_weighed(self, event: Weighed) -> None:
        self.grams.append(event.grams)


class OnlyScales(Everywhere, streams=[Scale]):
    pass


class OnlyFeeds(Everywhere, streams=["feed"]):
    pass


class ScalesAndFeeds(Everywhere, streams=(one for one in (Scale, "feed"))):
    pass


CLASSES = (Everywhere, OnlyScales, OnlyFeeds, ScalesAndFeeds)


def test_streams_restrict_to_categories_and_aggregates_and_without_them_nothing_is() -> None:
    domain = Domain("post")
    domain.register(Scale, *CLASSES)
    with Runtime.ephemeral(domain) as runtime:
        runtime.ask(Weigh("a", 1))
        runtime.publish(Weighed("a", 2), stream="feed-7")
        runtime.publish(Weighed("a", 4), stream="feedback-7")
        runtime.publish(Weighed("a", 8), stream="post::scales-7")
        runtime.settle(timeout=10)
        found = {cls: sum(state(runtime, cls, "a")["grams"]) for cls in CLASSES}
        assert found == {Everywhere: 15, OnlyScales: 1, OnlyFeeds: 2, ScalesAndFeeds: 3}


def test_a_class_with_streams_may_be_registered_in_several_domains() -> None:
    for name in ("one", "two"):
        domain = Domain(name)
        domain.register(Scale, ScalesAndFeeds)
        with Runtime.ephemeral(domain) as runtime:
            runtime.publish(Weighed("a", 4), stream="elsewhere-7")
            runtime.settle(timeout=10)
            assert runtime.get(ScalesAndFeeds, "a") is None


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([], "streams is empty"),
        (["post::scale-7"], "which is one stream; give its category, 'post::scale'"),
        ([5], "streams has 5; give categories"),
        ([Weighed], "give categories such as"),
    ],
)
def test_streams_that_could_not_work_are_refused(streams: list[Any], message: str) -> None:
    class Wrong(Everywhere, streams=streams):
        pass

    with pytest.raises(DefinitionError, match=f"Wrong: .*{message}"):
        Domain("post").register(Wrong)


@pytest.mark.parametrize("streams", ["feed", Scale])
def test_streams_that_are_no_list_are_refused(streams: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Wrong: streams=.*; give a list"):

        class Wrong(Everywhere, streams=streams):
            pass


def test_an_aggregate_in_streams_must_be_in_the_runtime() -> None:
    domain = Domain("post")
    domain.register(OnlyScales)
    with pytest.raises(DefinitionError, match="streams names Scale, which is in no domain"):
        Runtime.ephemeral(domain)


# Several domains in one store


class Placed(Event):
    order_id: str


class Bill(Command):
    order_id: str


class Billed(Event):
    order_id: str


def test_process_managers_and_aggregates_of_several_domains_work_together() -> None:
    sales, billing = Domain("sales"), Domain("billing")

    @billing.register
    class Invoice(Aggregate, identity="order_id"):
        @handle(Bill)
        def bill(self, command: Bill) -> Billed:
            return Billed(self.id)

    @sales.register
    class Selling(ProcessManager, correlate="order_id", begin="origin"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Bill(event.order_id))

        @handle(Billed, end=True)
        def on_billed(self, event: Billed) -> None: ...

    sales.register(Placed)
    billing.register(Billed)
    with Runtime.ephemeral(sales, billing) as runtime:
        runtime.publish(Placed("o1"), stream="feed-1")
        runtime.settle(timeout=10)
        assert [e.type for e in runtime.events()] == ["sales.Placed.v1", "billing.Billed.v1"]
        assert [e.stream for e in runtime.events("billing::invoice")] == ["billing::invoice-o1"]
        view = runtime.get(Selling, "o1")
        assert view is not None
        assert view.is_complete


# Another context's events


class PaymentReceived(Event):
    """As the billing context has it."""

    invoice: str
    amount: int
    iban: str = ""


class Receive(Command):
    invoice: str
    amount: int


class Account(Aggregate, identity="invoice"):
    @handle(Receive)
    def receive(self, command: Receive) -> PaymentReceived:
        return PaymentReceived(self.id, command.amount, "DE00")


def make_billing() -> Domain:
    billing = Domain("Billing")
    billing.register(Account, PaymentReceived)
    return billing


class MoneyCame(Event):
    """As sales has it: what is of interest here."""

    invoice: str
    amount: int


class Selling(ProcessManager, correlate="invoice", begin="origin"):
    paid: int = 0
    kinds: list[str] = []

    @handle(MoneyCame, start=True)
    def on_money(self, event: MoneyCame) -> None:
        assert type(event) is MoneyCame
        self.paid += event.amount
        self.kinds.append(self.context.type)


def make_sales() -> Domain:
    sales = Domain("sales")
    sales.register(Selling)
    sales.register_external_event(MoneyCame, "Billing.PaymentReceived.v1")
    return sales


def test_an_event_of_another_context_is_read_with_a_class_of_ones_own(tmp_path: Path) -> None:
    with Runtime(tmp_path, make_billing()) as runtime:
        runtime.ask(Receive("i1", 5))
    # The other context's package is not here, and a field that the class lacks is no matter.
    with Runtime(tmp_path, make_sales()) as runtime:
        runtime.settle(timeout=10)
        assert state(runtime, Selling, "i1") == {
            "paid": 5,
            "kinds": ["Billing.PaymentReceived.v1"],
        }
        assert [e.event for e in runtime.events()] == [MoneyCame("i1", 5)]


@pytest.mark.parametrize("owner_first", [True, False])
def test_the_owner_and_the_other_context_may_be_in_one_runtime(*, owner_first: bool) -> None:
    domains = [make_billing(), make_sales()]
    with Runtime.ephemeral(*domains[:: 1 if owner_first else -1]) as runtime:
        assert runtime.ask(Receive("i1", 5)) == [PaymentReceived("i1", 5, "DE00")]
        runtime.settle(timeout=10)
        assert state(runtime, Selling, "i1")["paid"] == 5
        # What is looked at is the owner's.
        assert [e.event for e in runtime.events()] == [PaymentReceived("i1", 5, "DE00")]


def test_an_external_event_may_be_published_with_the_class_that_stands_for_it() -> None:
    with Runtime.ephemeral(make_sales()) as runtime:
        runtime.publish(MoneyCame("i1", 7), stream="feed-1")
        runtime.settle(timeout=10)
        assert [e.type for e in runtime.events()] == ["Billing.PaymentReceived.v1"]
        assert state(runtime, Selling, "i1")["paid"] == 7


def test_a_missing_field_parks_the_event_and_names_the_field(tmp_path: Path) -> None:
    class Received(Event, name="Billing.PaymentReceived.v1"):
        invoice: str
        total: int

    billing = Domain("Billing")
    billing.register(Received)
    with Runtime(tmp_path, billing) as runtime:
        runtime.publish(Received("i1", 5), stream="feed-1")
    with Runtime(tmp_path, make_sales()) as runtime:
        runtime.settle(timeout=10)
        assert runtime.get(Selling, "i1") is None
        [parked] = runtime.parked()
        assert parked.process == "sales.Selling"
        assert parked.error == (
            "procession.errors.InvalidMessage: stored MoneyCame does not fit its class: "
            "Object missing required field `amount`"
        )
        runtime.publish(MoneyCame("i1", 7), stream="feed-1")
        runtime.settle(timeout=10)
        assert state(runtime, Selling, "i1")["paid"] == 7


def test_an_external_event_may_be_registered_after_its_process_manager() -> None:
    sales = Domain("sales")
    sales.register_external_event(MoneyCame, "Billing.PaymentReceived.v1")
    sales.register(Selling)
    for domain in (sales, make_sales()):
        with Runtime.ephemeral(domain, make_billing()) as runtime:
            runtime.ask(Receive("i1", 5))
            runtime.settle(timeout=10)
            assert state(runtime, Selling, "i1")["paid"] == 5


def test_two_contexts_may_each_have_a_class_of_their_own_for_one_event() -> None:
    class Money(Event):
        amount: int

    class Till(ProcessManager, correlate=ALL):
        total: int = 0

        @handle(Money, start=True)
        def on_money(self, event: Money) -> None:
            self.total += event.amount

    shipping = Domain("shipping")
    shipping.register(Till)
    shipping.register_external_event(Money, "Billing.PaymentReceived.v1")
    with Runtime.ephemeral(shipping, make_sales(), make_billing()) as runtime:
        runtime.ask(Receive("i1", 5))
        runtime.ask(Receive("i2", 6))
        runtime.settle(timeout=10)
        assert state(runtime, Till, "all") == {"total": 11}
        assert state(runtime, Selling, "i2")["paid"] == 6


def test_an_event_that_no_class_here_stands_for_can_still_be_looked_at(tmp_path: Path) -> None:
    with Runtime(tmp_path, make_billing()) as runtime:
        runtime.ask(Receive("i1", 5))
    other = Domain("other")
    other.register(Placed)
    with Runtime(tmp_path, other) as runtime:
        [stored] = runtime.events()
        assert isinstance(stored.event, UnknownEvent)
        assert stored.event.data == {"invoice": "i1", "amount": 5, "iban": "DE00"}


def test_a_name_that_is_none_and_a_class_that_is_taken_are_refused() -> None:
    sales = make_sales()
    with pytest.raises(DefinitionError, match="is no wire name"):
        sales.register_external_event(Placed, "PaymentReceived")
    with pytest.raises(DefinitionError, match="MoneyCame stands for Billing"):
        sales.register_external_event(MoneyCame, "Billing.Other.v1")
    with pytest.raises(DefinitionError, match=r"MoneyCame stands for Billing.*; use that class"):
        sales.register_external_event(Placed, "Billing.PaymentReceived.v1")
    with pytest.raises(DefinitionError, match="is no Event"):
        sales.register_external_event(Bill, "Billing.Bill.v1")  # type: ignore[arg-type]
    sales.register_external_event(MoneyCame, "Billing.PaymentReceived.v1")


# Stateless


class GroupDeleted(Event):
    group: str
    projects: list[str]


class ArchiveProject(Command):
    project: str


class ProjectArchived(Event):
    project: str


class Project(Aggregate, identity="project"):
    @handle(ArchiveProject)
    def archive(self, command: ArchiveProject) -> ProjectArchived:
        return ProjectArchived(self.id)


class Cascade(ProcessManager, stateless=True):
    failing: ClassVar[set[str]] = set()

    @handle(GroupDeleted)
    def on_group_deleted(self, event: GroupDeleted) -> None:
        for project in event.projects:
            self.issue(ArchiveProject(project))
            if project in Cascade.failing:
                raise ValueError(f"{project} cannot be archived")


def make_work() -> Domain:
    work = Domain("work")
    work.register(Project, Cascade)
    return work


@pytest.fixture(autouse=True)
def none_fails() -> Iterator[None]:
    yield
    Cascade.failing.clear()


def archived(runtime: Runtime) -> list[str]:
    return [e.event.project for e in runtime.events() if isinstance(e.event, ProjectArchived)]


def test_every_project_is_archived_when_its_group_is_deleted() -> None:
    with Runtime.ephemeral(make_work()) as runtime:
        runtime.publish(GroupDeleted("g1", ["a", "b", "c"]), stream="group-g1")
        runtime.publish(GroupDeleted("g2", ["d"]), stream="group-g2")
        runtime.settle(timeout=10)
        assert sorted(archived(runtime)) == ["a", "b", "c", "d"]
        assert runtime.stats()["transitions"] == 2


def test_what_a_stateless_one_did_is_not_done_again_after_a_restart(tmp_path: Path) -> None:
    with Runtime(tmp_path, make_work()) as runtime:
        for group in ("g1", "g2"):
            runtime.publish(
                GroupDeleted(group, [f"{group}-a", f"{group}-b"]),
                stream=f"group-{group}",
                event_id=f"deleted {group}",
            )
        runtime.settle(timeout=10)
        before = archived(runtime)
        assert len(before) == 4
    with LmdbStore(tmp_path) as store:
        # As if the process had died before the router's position was written.
        store.commit([], {"work.Cascade": 0})
    with Runtime(tmp_path, make_work()) as runtime:
        runtime.settle(timeout=10)
        assert archived(runtime) == before
        assert runtime.stats()["seen_again"] == 2
        assert runtime.stats()["transitions"] == 0


def test_a_stateless_handler_that_fails_lets_nothing_out_and_delays_no_other_event() -> None:
    with Runtime.ephemeral(make_work()) as runtime:
        Cascade.failing.add("b")
        runtime.publish(GroupDeleted("g1", ["a", "b", "c"]), stream="group-g1")
        runtime.publish(GroupDeleted("g1", ["d"]), stream="group-g1")
        runtime.settle(timeout=10)
        assert archived(runtime) == ["d"]
        Cascade.failing.clear()
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert archived(runtime) == ["d", "a", "b", "c"]


def test_the_same_event_published_twice_under_one_id_is_handled_once() -> None:
    with Runtime.ephemeral(make_work()) as runtime:
        for _ in range(2):
            runtime.publish(GroupDeleted("g1", ["a"]), stream="group-g1", event_id="e1")
        runtime.settle(timeout=10)
        assert archived(runtime) == ["a"]


@pytest.mark.parametrize("start", [True, "only"])
def test_a_stateless_process_manager_has_no_start(start: Any) -> None:
    class Wrong(ProcessManager, stateless=True):
        @handle(Placed, start=start)
        def on_placed(self, event: Placed) -> None: ...

    with pytest.raises(DefinitionError, match=r"Wrong\.on_placed: a stateless .* remove start"):
        Domain("work").register(Wrong)


def test_a_stateless_process_manager_has_no_state_and_no_correlation() -> None:
    class Keeps(ProcessManager, stateless=True):
        count: int = 0

        @handle(Placed)
        def on_placed(self, event: Placed) -> None: ...

    class Finds(ProcessManager, stateless=True, correlate="order_id"):
        @handle(Placed)
        def on_placed(self, event: Placed) -> None: ...

    with pytest.raises(DefinitionError, match="Keeps is stateless, and has the field 'count'"):
        Domain("work").register(Keeps)
    with pytest.raises(DefinitionError, match="Finds is stateless, and has correlate="):
        Domain("work").register(Finds)


# One that sees all


class Meter(ProcessManager, correlate=ALL):
    orders: list[str] = []
    positions: list[int] = []

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.orders.append(event.order_id)
        self.positions.append(self.context.position)

    @handle(Billed)
    def on_billed(self, event: Billed) -> None:
        self.orders.append(f"billed {event.order_id}")


def test_one_instance_called_all_sees_every_event_of_its_types_in_order(tmp_path: Path) -> None:
    domain = Domain("shop")
    domain.register(Meter)
    events = [Placed(f"o{number}") for number in range(100)]
    with Runtime(tmp_path, domain, durability="none", max_in_flight=16) as runtime:
        runtime.publish_many(events[:60], stream=lambda event: f"order-{event.order_id}")
        runtime.publish(Billed("o3"), stream="feed-1")
        runtime.settle(timeout=10)
    with Runtime(tmp_path, domain, durability="none") as runtime:
        runtime.publish_many(events[60:], stream=lambda event: f"order-{event.order_id}")
        runtime.settle(timeout=10)
        found = state(runtime, Meter, "all")
        names = [event.order_id for event in events]
        assert found["orders"] == [*names[:60], "billed o3", *names[60:]]
        assert found["positions"] == sorted(found["positions"])
        assert runtime.get(Meter, "o1") is None


def test_one_handler_may_see_all_while_the_others_correlate() -> None:
    class Mixed(ProcessManager, correlate="order_id"):
        count: int = 0

        @handle(Placed, start=True, correlate=ALL)
        def on_placed(self, event: Placed) -> None:
            self.count += 1

        @handle(Billed, start=True)
        def on_billed(self, event: Billed) -> None:
            self.count += 100

    domain = Domain("shop")
    domain.register(Mixed)
    with Runtime.ephemeral(domain) as runtime:
        runtime.publish_many([Placed("a"), Placed("b"), Billed("a")], stream="feed-1")
        runtime.settle(timeout=10)
        assert state(runtime, Mixed, "all") == {"count": 2}
        assert state(runtime, Mixed, "a") == {"count": 100}
