"""The invoice: what a customer owes, and which payment settled it."""

from decimal import Decimal

from procession import Aggregate, Command, Event, Rejected, apply, handle


class IssueInvoice(Command):
    invoice_id: str
    customer_id: str
    amount: Decimal


class MatchPayment(Command):
    invoice_id: str
    payment_id: str
    amount: Decimal


class InvoiceIssued(Event):
    invoice_id: str
    customer_id: str
    amount: Decimal


class PaymentMatched(Event):
    invoice_id: str
    payment_id: str
    customer_id: str
    amount: Decimal


class PaymentUnmatched(Event):
    invoice_id: str
    payment_id: str
    reason: str


class Invoice(Aggregate, identity="invoice_id"):
    status: str = "unknown"
    customer_id: str = ""
    amount: Decimal = Decimal(0)

    @handle(IssueInvoice)
    def issue(self, command: IssueInvoice) -> InvoiceIssued:
        if self.status != "unknown":
            raise Rejected("the invoice was issued already")
        if command.amount <= 0:
            raise Rejected("an invoice asks for more than nothing")
        return InvoiceIssued(
            invoice_id=self.id, customer_id=command.customer_id, amount=command.amount
        )

    @handle(MatchPayment)
    def match(self, command: MatchPayment) -> PaymentMatched | PaymentUnmatched:
        # The money is there, whatever is wrong with it: not a refusal, but an event to act on.
        # An invoice that was never issued can be asked too, and answers like any other.
        if self.status != "open":
            return self._unmatched(command, f"the invoice is {self.status}")
        if command.amount != self.amount:
            return self._unmatched(command, f"{command.amount} was paid for {self.amount}")
        return PaymentMatched(
            invoice_id=self.id,
            payment_id=command.payment_id,
            customer_id=self.customer_id,
            amount=command.amount,
        )

    @apply(InvoiceIssued)
    def _issued(self, event: InvoiceIssued) -> None:
        self.status = "open"
        self.customer_id = event.customer_id
        self.amount = event.amount

    @apply(PaymentMatched)
    def _matched(self, event: PaymentMatched) -> None:
        self.status = "paid"

    def _unmatched(self, command: MatchPayment, reason: str) -> PaymentUnmatched:
        return PaymentUnmatched(invoice_id=self.id, payment_id=command.payment_id, reason=reason)
