"""Payments that match no invoice: held until a person has looked at them."""

from decimal import Decimal

from procession import Aggregate, Command, Event, Rejected, apply, handle


class HoldPayment(Command):
    payment_id: str
    amount: Decimal
    reason: str


class PaymentHeld(Event):
    payment_id: str
    amount: Decimal
    reason: str


class HeldPayment(Aggregate, identity="payment_id"):
    amount: Decimal = Decimal(0)
    reason: str = ""

    @handle(HoldPayment)
    def hold(self, command: HoldPayment) -> PaymentHeld:
        if self.version:
            raise Rejected("the payment is held already")
        return PaymentHeld(payment_id=self.id, amount=command.amount, reason=command.reason)

    @apply(PaymentHeld)
    def _held(self, event: PaymentHeld) -> None:
        self.amount = event.amount
        self.reason = event.reason
