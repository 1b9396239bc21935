"""The payment of one order: charged or declined, and refunded when the order falls through."""

from decimal import Decimal

from actors import Aggregate, Command, Event, Rejected, apply, handle

LIMIT = Decimal(1_000)
"""The customer's bank declines anything above."""


class ChargePayment(Command):
    order_id: str
    amount: Decimal


class RefundPayment(Command):
    order_id: str


class PaymentCharged(Event):
    order_id: str
    amount: Decimal


class PaymentDeclined(Event):
    order_id: str
    reason: str


class PaymentRefunded(Event):
    order_id: str
    amount: Decimal


class Payment(Aggregate, identity="order_id"):
    status: str = "new"
    amount: Decimal = Decimal(0)

    @handle(ChargePayment)
    def charge(self, command: ChargePayment) -> PaymentCharged | PaymentDeclined:
        if self.status != "new":
            raise Rejected("the payment was asked for already")
        if command.amount > LIMIT:
            return PaymentDeclined(order_id=self.id, reason=f"over the limit of {LIMIT}")
        return PaymentCharged(order_id=self.id, amount=command.amount)

    @handle(RefundPayment)
    def refund(self, command: RefundPayment) -> PaymentRefunded:
        if self.status != "charged":
            raise Rejected("there is nothing to refund")
        # The aggregate knows what it charged; nobody has to tell it, or can get it wrong.
        return PaymentRefunded(order_id=self.id, amount=self.amount)

    @apply(PaymentCharged)
    def _charged(self, event: PaymentCharged) -> None:
        self.status = "charged"
        self.amount = event.amount

    @apply(PaymentDeclined)
    def _declined(self, event: PaymentDeclined) -> None:
        self.status = "declined"

    @apply(PaymentRefunded)
    def _refunded(self, event: PaymentRefunded) -> None:
        self.status = "refunded"
