"""The drawing of a design: a Mermaid flowchart."""

import re
from datetime import timedelta
from types import ModuleType

import pytest

import domain_examples.loan_application.process as loan_application
from domain_examples import order_fulfilment, payment_reconciliation, user_onboarding
from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Projection,
    after,
    handle,
    project,
    rejected,
    timeout,
)


class Placed(Event):
    order_id: str


class Pay(Command):
    order_id: str


class Paid(Event, version=2):
    order_id: str


class Declined(Event):
    order_id: str


class Payment(Aggregate, identity="order_id"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid | Declined:
        return Paid(self.id)


class Fulfilment(ProcessManager, correlate="order_id"):
    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.issue(Pay(event.order_id))
        self.set_timeout("payment", timedelta(minutes=30))

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None: ...

    @handle(Declined)
    def on_declined(self, event: Declined) -> None:
        self._give_up()

    @rejected(Pay)
    def on_refused(self, command: Pay, reason: str) -> None: ...

    @timeout("payment")
    def on_late(self) -> None:
        self._give_up()

    @after(Paid)
    def tell(self, event: Paid) -> None: ...

    def _give_up(self) -> None:
        self.mark_as_complete()


NODE = re.compile(
    r'    [a-z]+_\w+(\[\("[^"]+"\)\]|\["[^"]+"\]|\("[^"]+"\)|\{\{"[^"]+"\}\}|\(\["[^"]+"\]\))'
    r"(:::elsewhere)?",
    re.ASCII,
)
LINK = re.compile(r'    [a-z]+_\w+ (-->|-\.->)(\|"[a-z, ]+"\|)? [a-z]+_\w+', re.ASCII)


def drawing_of(*classes: type) -> str:
    domain = Domain("shop")
    domain.register(*classes)
    return domain.graph()


def test_a_small_domain_is_drawn_whole() -> None:
    assert (
        drawing_of(Payment, Fulfilment)
        == """\
flowchart LR
    aggregate_Payment[("Payment")]
    command_Pay["Pay"]
    event_Declined("Declined")
    event_Paid_v2("Paid v2")
    event_Placed("Placed"):::elsewhere
    process_Fulfilment{{"Fulfilment"}}
    timeout_Fulfilment_payment(["timeout payment"])
    aggregate_Payment --> event_Declined
    aggregate_Payment --> event_Paid_v2
    command_Pay --> aggregate_Payment
    command_Pay -.->|"rejected"| process_Fulfilment
    event_Declined -->|"may end"| process_Fulfilment
    event_Paid_v2 -->|"end"| process_Fulfilment
    event_Paid_v2 -.->|"after"| process_Fulfilment
    event_Placed -->|"start"| process_Fulfilment
    process_Fulfilment --> command_Pay
    process_Fulfilment -.-> timeout_Fulfilment_payment
    timeout_Fulfilment_payment -->|"may end"| process_Fulfilment
    classDef elsewhere stroke-dasharray: 5 5
"""
    )


def test_the_order_of_registering_changes_nothing() -> None:
    assert drawing_of(Fulfilment, Payment) == drawing_of(Payment, Fulfilment)


def test_an_empty_domain_is_an_empty_drawing() -> None:
    assert Domain("empty").graph() == "flowchart LR\n"


@pytest.mark.parametrize(
    ("package", "domain"),
    [
        (order_fulfilment, order_fulfilment.shop),
        (user_onboarding, user_onboarding.onboarding),
        (payment_reconciliation, payment_reconciliation.reconciliation),
        (loan_application, loan_application.bank),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_the_examples_are_drawn_with_every_class(package: ModuleType, domain: Domain) -> None:
    text = domain.graph()
    ours = (Aggregate, ProcessManager, Event, Command)
    names = {
        name
        for name, value in vars(package).items()
        if isinstance(value, type)
        and issubclass(value, ours)
        # The base of the bank's events is no event itself.
        and value not in {*ours, loan_application.Activity}
    }
    assert names
    assert {name for name in names if f'"{name}"' in text} == names


@pytest.mark.parametrize(
    "domain",
    [
        order_fulfilment.shop,
        user_onboarding.onboarding,
        payment_reconciliation.reconciliation,
        loan_application.bank,
    ],
    ids=lambda domain: domain.name,
)
def test_every_line_is_a_node_or_a_link_between_nodes(domain: Domain) -> None:
    first, *lines = domain.graph().splitlines()
    assert first == "flowchart LR"
    if lines[-1].startswith("    classDef"):
        lines.pop()
    assert [line for line in lines if not NODE.fullmatch(line) and not LINK.fullmatch(line)] == []
    nodes = [re.split(r"\W", line.strip())[0] for line in lines if NODE.fullmatch(line)]
    linked = re.findall(r"\w+_\w+", "".join(line for line in lines if LINK.fullmatch(line)))
    assert len(nodes) == len(set(nodes))
    assert set(linked) <= set(nodes)


def test_a_registered_message_that_nobody_uses_is_drawn_too() -> None:
    text = drawing_of(Payment, Placed)
    assert '    event_Placed("Placed"):::elsewhere\n' in text


def test_a_message_that_only_a_refusal_is_about_is_drawn_too() -> None:
    class Watcher(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True, end=True)
        def on_placed(self, event: Placed) -> None: ...

        @rejected(Pay)
        def on_refused(self, command: Pay, reason: str) -> None: ...

    assert '    command_Pay["Pay"]:::elsewhere\n' in drawing_of(Watcher)


def test_a_start_that_is_also_the_end_says_both() -> None:
    class Short(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True, end=True)
        def on_placed(self, event: Placed) -> None: ...

    assert '    event_Placed -->|"start, end"| process_Short\n' in drawing_of(Short)


def test_what_could_mean_something_to_mermaid_is_written_as_a_number() -> None:
    odd = 'a"b]\n#1;<i>'

    class Odd(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True, end=True)
        def on_placed(self, event: Placed) -> None:
            self.set_timeout('a"b]\n#1;<i>', timedelta(1))

        @timeout(odd)
        def on_odd(self) -> None: ...

    text = drawing_of(Odd)
    node = '(["timeout a#34;b#93;#10;#35;1#59;#60;i#62;"])'
    assert f"    timeout_Odd_a_b___1__i_{node}\n" in text


def test_timeouts_whose_names_look_alike_are_two_nodes() -> None:
    class Odd(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True, end=True)
        def on_placed(self, event: Placed) -> None: ...

        @timeout("a-b")
        @timeout("a b")
        def on_odd(self) -> None: ...

    text = drawing_of(Odd)
    assert '    timeout_Odd_a_b(["timeout a b"])\n' in text
    assert '    timeout_Odd_a_b_2(["timeout a-b"])\n' in text


def test_a_timeout_that_is_never_set_has_no_arrow_to_it() -> None:
    class Idle(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True, end=True)
        def on_placed(self, event: Placed) -> None: ...

        @timeout("late")
        def on_late(self) -> None: ...

    text = drawing_of(Idle)
    assert "    timeout_Idle_late --> process_Idle\n" in text
    assert "-.->" not in text


def test_a_class_name_of_any_alphabet_has_a_safe_id() -> None:
    class Ausgeführt(Event):  # noqa: PLC2401 - this is what is tested
        order_id: str

    assert '    event_Ausgef_hrt("Ausgeführt"):::elsewhere\n' in drawing_of(Payment, Ausgeführt)


def test_projections_are_drawn_with_the_events_that_they_take() -> None:
    domain = Domain("read")

    class Happened(Event):
        name: str

    @domain.projection
    class Seen(Projection):
        @project(Happened)
        def on_happened(self, event: Happened) -> None: ...

    assert domain.graph().splitlines() == [
        "flowchart LR",
        '    event_Happened("Happened"):::elsewhere',
        '    projection_Seen[/"Seen"/]',
        "    event_Happened --> projection_Seen",
        "    classDef elsewhere stroke-dasharray: 5 5",
    ]
