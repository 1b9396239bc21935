from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from domain_examples.payment_reconciliation import (
    CustomerNotified,
    EntryPosted,
    HeldPayment,
    HoldPayment,
    Invoice,
    InvoiceIssued,
    IssueInvoice,
    MatchPayment,
    NotifyCustomer,
    PaymentHeld,
    PaymentMatched,
    PaymentReceived,
    PaymentReconciliation,
    PaymentSettled,
    PaymentUnmatched,
    PostEntry,
    reconciliation,
)
from procession import Command, Domain, Event, Rejected, Runtime

INVOICE = IssueInvoice(invoice_id="i1", customer_id="ada", amount=Decimal("99.50"))
PAYMENT = PaymentReceived(
    payment_id="p1", transaction="t-p1", amount=Decimal("99.50"), reference="i1"
)


# The bank's own package: its classes have the wire names, and fields that are no matter of ours.

bank = Domain("Bank")


@bank.register
class Received(Event, name="Bank.PaymentReceived.v1"):
    payment_id: str
    transaction: str
    amount: Decimal
    iban: str
    reference: str = ""


@bank.register
class Settled(Event, name="Bank.PaymentSettled.v1"):
    transaction: str
    settled_on: date


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(reconciliation) as running:
        running.ask(INVOICE)
        yield running


def receive(runtime: Runtime, payment: PaymentReceived) -> int:
    """As the adapter of the bank's feed would: what it reports twice is stored once."""
    return runtime.publish(
        payment, stream=f"bank::payment-{payment.payment_id}", event_id=payment.payment_id
    )


def settle_at_bank(runtime: Runtime, payment_id: str) -> None:
    """The bank's second word, which names its transaction only; then all goes on."""
    transaction = f"t-{payment_id}"
    runtime.publish(
        PaymentSettled(transaction=transaction),
        stream=f"bank::transaction-{transaction}",
        event_id=transaction,
    )
    runtime.settle(timeout=10)


def happened(runtime: Runtime) -> list[type[Event]]:
    return [type(stored.event) for stored in runtime.events()]


def status_of(runtime: Runtime, payment_id: str) -> tuple[str, bool]:
    process = runtime.get(PaymentReconciliation, payment_id)
    assert process is not None
    return process.state["status"], process.is_complete


def test_a_payment_is_matched_booked_and_the_customer_notified(runtime: Runtime) -> None:
    receive(runtime, PAYMENT)
    runtime.settle(timeout=10)
    assert status_of(runtime, "p1") == ("settling", False)
    settle_at_bank(runtime, "p1")

    assert [stored.event for stored in runtime.events()] == [
        InvoiceIssued(invoice_id="i1", customer_id="ada", amount=Decimal("99.50")),
        PAYMENT,
        PaymentMatched(
            invoice_id="i1", payment_id="p1", customer_id="ada", amount=Decimal("99.50")
        ),
        EntryPosted(entry_id="payment:p1", account="customer:ada", amount=Decimal("99.50")),
        PaymentSettled(transaction="t-p1"),
        CustomerNotified(payment_id="p1", customer_id="ada", amount=Decimal("99.50")),
    ]
    assert status_of(runtime, "p1") == ("reconciled", True)
    invoice = runtime.get(Invoice, "i1")
    assert invoice is not None
    assert invoice.state["status"] == "paid"


@pytest.mark.parametrize(
    ("payment", "reason"),
    [
        pytest.param(
            PaymentReceived(payment_id="p2", transaction="t-p2", amount=Decimal(5), reference="i9"),
            "the invoice is unknown",
            id="unknown invoice",
        ),
        pytest.param(
            PaymentReceived(payment_id="p2", transaction="t-p2", amount=Decimal(5), reference="i1"),
            "5 was paid for 99.50",
            id="wrong amount",
        ),
        pytest.param(
            PaymentReceived(payment_id="p2", transaction="t-p2", amount=Decimal(5)),
            "there is no reference",
            id="no reference",
        ),
    ],
)
def test_a_payment_that_matches_nothing_is_held_with_the_reason(
    runtime: Runtime, payment: PaymentReceived, reason: str
) -> None:
    receive(runtime, payment)
    runtime.settle(timeout=10)

    assert status_of(runtime, "p2") == ("held", True)
    held = runtime.get(HeldPayment, "p2")
    assert held is not None
    assert held.state == {"amount": Decimal(5), "reason": reason}
    counts = Counter(happened(runtime))
    assert counts[PaymentHeld] == 1
    assert counts[EntryPosted] == counts[CustomerNotified] == 0


def test_an_invoice_that_was_paid_wrongly_can_still_be_paid(runtime: Runtime) -> None:
    receive(
        runtime,
        PaymentReceived(payment_id="p0", transaction="t-p0", amount=Decimal(5), reference="i1"),
    )
    runtime.settle(timeout=10)
    receive(runtime, PAYMENT)
    settle_at_bank(runtime, "p1")

    assert status_of(runtime, "p0") == ("held", True)
    assert status_of(runtime, "p1") == ("reconciled", True)


def test_only_one_of_two_payments_settles_an_invoice(runtime: Runtime) -> None:
    receive(runtime, PAYMENT)
    receive(
        runtime,
        PaymentReceived(
            payment_id="p2", transaction="t-p2", amount=Decimal("99.50"), reference="i1"
        ),
    )
    settle_at_bank(runtime, "p1")
    settle_at_bank(runtime, "p2")

    ends = {status_of(runtime, "p1"), status_of(runtime, "p2")}
    assert ends == {("reconciled", True), ("held", True)}
    counts = Counter(happened(runtime))
    assert counts[PaymentMatched] == counts[EntryPosted] == counts[PaymentUnmatched] == 1


def test_a_payment_that_is_published_twice_is_stored_and_booked_once(runtime: Runtime) -> None:
    assert receive(runtime, PAYMENT) == receive(runtime, PAYMENT)
    runtime.settle(timeout=10)
    assert receive(runtime, PAYMENT)
    settle_at_bank(runtime, "p1")

    assert happened(runtime) == [
        InvoiceIssued,
        PaymentReceived,
        PaymentMatched,
        EntryPosted,
        PaymentSettled,
        CustomerNotified,
    ]


def test_a_payment_that_is_reported_by_two_events_is_booked_once(runtime: Runtime) -> None:
    # Without an event_id these are two events, and the process may still run at the second one.
    runtime.publish_many([PAYMENT, PAYMENT], stream="bank::payment-p1")
    runtime.settle(timeout=10)
    settle_at_bank(runtime, "p1")

    assert status_of(runtime, "p1") == ("reconciled", True)
    counts = Counter(happened(runtime))
    assert counts[PaymentReceived] == 2
    assert counts[PaymentMatched] == counts[EntryPosted] == counts[CustomerNotified] == 1
    assert counts[PaymentUnmatched] == 0


def test_a_settlement_finds_its_payment_by_the_transaction_alone(runtime: Runtime) -> None:
    runtime.ask(IssueInvoice(invoice_id="i2", customer_id="bob", amount=Decimal(7)))
    receive(runtime, PAYMENT)
    receive(
        runtime,
        PaymentReceived(payment_id="p2", transaction="t-p2", amount=Decimal(7), reference="i2"),
    )
    runtime.settle(timeout=10)
    settle_at_bank(runtime, "p2")

    assert status_of(runtime, "p1") == ("settling", False)
    assert status_of(runtime, "p2") == ("reconciled", True)
    (found,) = runtime.find(PaymentReconciliation, transaction="t-p1")
    assert found.id == "p1"


def test_a_settlement_that_is_quicker_than_the_ledger_is_not_forgotten(runtime: Runtime) -> None:
    receive(runtime, PAYMENT)
    settle_at_bank(runtime, "p1")

    assert status_of(runtime, "p1") == ("reconciled", True)
    assert Counter(happened(runtime))[CustomerNotified] == 1


def test_a_settlement_that_is_told_twice_notifies_once(runtime: Runtime) -> None:
    receive(runtime, PAYMENT)
    settled = PaymentSettled(transaction="t-p1")
    runtime.publish_many([settled, settled], stream="bank::transaction-t-p1")
    runtime.settle(timeout=10)

    assert status_of(runtime, "p1") == ("reconciled", True)
    assert Counter(happened(runtime))[CustomerNotified] == 1
    assert runtime.stats()["parked"] == 0


def test_a_settlement_of_a_payment_of_somebody_else_is_nothing_to_us(runtime: Runtime) -> None:
    receive(runtime, PAYMENT)
    settle_at_bank(runtime, "p9")

    assert status_of(runtime, "p1") == ("settling", False)
    assert runtime.get(PaymentReconciliation, "p9") is None


def test_what_the_bank_publishes_with_its_own_classes_is_read_with_ours() -> None:
    with Runtime.ephemeral(reconciliation, bank) as runtime:
        runtime.ask(INVOICE)
        runtime.publish(
            Received(
                payment_id="p1",
                transaction="t-p1",
                amount=Decimal("99.50"),
                iban="NL00BANK0123456789",
                reference="i1",
            ),
            stream="bank::payment-p1",
        )
        runtime.publish(
            Settled(transaction="t-p1", settled_on=date(2024, 2, 29)),
            stream="bank::transaction-t-p1",
        )
        runtime.settle(timeout=10)

        assert status_of(runtime, "p1") == ("reconciled", True)
        assert runtime.stats()["parked"] == 0


def test_a_ledger_entry_about_something_else_starts_and_disturbs_nothing(runtime: Runtime) -> None:
    runtime.ask(PostEntry(entry_id="fee:p1", account="bank", amount=Decimal(1)))
    runtime.settle(timeout=10)
    assert runtime.get(PaymentReconciliation, "p1") is None

    receive(runtime, PAYMENT)
    settle_at_bank(runtime, "p1")
    assert status_of(runtime, "p1") == ("reconciled", True)


def test_an_invoice_for_nothing_is_refused_at_once(runtime: Runtime) -> None:
    with pytest.raises(Rejected, match="more than nothing"):
        runtime.ask(IssueInvoice(invoice_id="i2", customer_id="ada", amount=Decimal(0)))

    assert runtime.get(Invoice, "i2") is None


def test_payments_that_arrive_at_once_are_all_reconciled_or_held(runtime: Runtime) -> None:
    runtime.tell_many(
        IssueInvoice(invoice_id=f"n{number}", customer_id="ada", amount=Decimal(number + 1))
        for number in range(100)
    )
    runtime.settle(timeout=60)
    runtime.publish_many(
        (
            PaymentReceived(
                payment_id=f"p-n{number}",
                transaction=f"t-n{number}",
                amount=Decimal(number + 1),
                reference=f"n{number}",
            )
            for number in range(200)
        ),
        stream="bank::feed-1",
    )
    runtime.publish_many(
        (PaymentSettled(transaction=f"t-n{number}") for number in range(200)),
        stream="bank::feed-1",
    )
    runtime.settle(timeout=60)

    ends = Counter(status_of(runtime, f"p-n{number}") for number in range(200))
    assert ends == {("reconciled", True): 100, ("held", True): 100}
    assert sum(
        stored.event.amount
        for stored in runtime.events("reconciliation::ledger_entry")
        if isinstance(stored.event, EntryPosted)
    ) == sum(range(101))
    assert runtime.stats()["parked"] == 0


def test_the_process_can_be_driven_by_hand_without_a_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = PaymentReconciliation("p1", payment_id="p1")
    issued: list[Command] = []
    monkeypatch.setattr(process, "issue", lambda *commands: issued.extend(commands))
    amount = Decimal("99.50")

    process.on_payment_received(PAYMENT)
    process.on_payment_matched(
        PaymentMatched(invoice_id="i1", payment_id="p1", customer_id="ada", amount=amount)
    )
    process.on_entry_posted(
        EntryPosted(entry_id="payment:p1", account="customer:ada", amount=amount)
    )
    assert process.status == "settling"
    process.on_payment_settled(PaymentSettled(transaction="t-p1"))
    assert process.status == "notifying"
    assert issued == [
        MatchPayment(invoice_id="i1", payment_id="p1", amount=amount),
        PostEntry(entry_id="payment:p1", account="customer:ada", amount=amount),
        NotifyCustomer(payment_id="p1", customer_id="ada", amount=amount),
    ]


def test_by_hand_a_payment_without_a_reference_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    process = PaymentReconciliation("p1", payment_id="p1")
    issued: list[Command] = []
    monkeypatch.setattr(process, "issue", lambda *commands: issued.extend(commands))

    process.on_payment_received(
        PaymentReceived(payment_id="p1", transaction="t-p1", amount=Decimal(5))
    )

    assert issued == [
        HoldPayment(payment_id="p1", amount=Decimal(5), reason="there is no reference")
    ]
