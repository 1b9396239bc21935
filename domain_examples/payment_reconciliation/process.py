"""The process: from money that arrived to a customer who knows.

PaymentReceived -> PaymentMatched -> EntryPosted
                                     PaymentSettled -> CustomerNotified
                   PaymentUnmatched -> PaymentHeld

The customer is told when the payment is booked and the bank has settled it, which may come in
either order, and days apart.
"""

from decimal import Decimal

from procession import Indexed, ProcessManager, handle

from .bank import PaymentReceived, PaymentSettled
from .holding import HoldPayment, PaymentHeld
from .invoices import MatchPayment, PaymentMatched, PaymentUnmatched
from .ledger import EntryPosted, PostEntry
from .notices import CustomerNotified, NotifyCustomer

ENTRY = "payment:"


def payment_of(event: EntryPosted) -> str | None:
    """The payment that a ledger entry is about; None when it is about something else."""
    if event.entry_id.startswith(ENTRY):
        return event.entry_id.removeprefix(ENTRY)
    return None


class PaymentReconciliation(ProcessManager, correlate="payment_id"):
    payment_id: str = ""
    # Learnt from the first event; the bank's later ones name nothing else.
    transaction: Indexed[str] = ""
    amount: Decimal = Decimal(0)
    customer_id: str = ""
    status: str = "new"
    is_booked: bool = False
    is_settled: bool = False

    @handle(PaymentReceived, start=True)
    def on_payment_received(self, event: PaymentReceived) -> None:
        if self.version:
            # The bank reported this payment before; it is one payment all the same.
            return
        self.transaction = event.transaction
        self.amount = event.amount
        if not event.reference:
            # There is no invoice to ask.
            self._hold("there is no reference")
            return
        self.status = "matching"
        self.issue(
            MatchPayment(
                invoice_id=event.reference, payment_id=event.payment_id, amount=event.amount
            )
        )

    @handle(PaymentMatched)
    def on_payment_matched(self, event: PaymentMatched) -> None:
        self.status = "booking"
        self.customer_id = event.customer_id
        self.issue(
            PostEntry(
                entry_id=f"{ENTRY}{self.payment_id}",
                account=f"customer:{event.customer_id}",
                amount=event.amount,
            )
        )

    @handle(PaymentUnmatched)
    def on_payment_unmatched(self, event: PaymentUnmatched) -> None:
        self._hold(event.reason)

    # The ledger knows nothing of payments: a function reads from the entry's id whose it is.
    @handle(EntryPosted, correlate=payment_of)
    def on_entry_posted(self, event: EntryPosted) -> None:
        self.status = "settling"
        self.is_booked = True
        self._notify_if_sure()

    # A learnt key: found by the value that the instance put into its indexed field.
    @handle(PaymentSettled, correlate={"transaction": "transaction"})
    def on_payment_settled(self, event: PaymentSettled) -> None:
        if not self.is_settled:
            self.is_settled = True
            self._notify_if_sure()

    @handle(CustomerNotified, end=True)
    def on_customer_notified(self, event: CustomerNotified) -> None:
        self.status = "reconciled"

    @handle(PaymentHeld, end=True)
    def on_payment_held(self, event: PaymentHeld) -> None:
        self.status = "held"

    def _notify_if_sure(self) -> None:
        if self.is_booked and self.is_settled:
            self.status = "notifying"
            self.issue(
                NotifyCustomer(
                    payment_id=self.payment_id, customer_id=self.customer_id, amount=self.amount
                )
            )

    def _hold(self, reason: str) -> None:
        self.status = "holding"
        self.issue(HoldPayment(payment_id=self.payment_id, amount=self.amount, reason=reason))
