"""The payment of one order: charged, declined, or left to a clerk; refunded or withdrawn again."""

from decimal import Decimal

from procession import Aggregate, Command, Event, Rejected, apply, handle

LIMIT = Decimal(1_000)
"""The customer's bank declines anything above."""

UNCHECKED = Decimal(500)
"""Anything above is charged only when a clerk has looked at it and confirmed it."""


class ChargePayment(Command):
    order_id: str
    amount: Decimal


class ConfirmPayment(Command):
    order_id: str


class WithdrawPayment(Command):
    order_id: str


class RefundPayment(Command):
    order_id: str


class PaymentCharged(Event):
    order_id: str
    amount: Decimal


class PaymentDeclined(Event):
    order_id: str
    reason: str


class PaymentPending(Event):
    order_id: str
    amount: Decimal


class PaymentWithdrawn(Event):
    order_id: str


class PaymentRefunded(Event):
    order_id: str
    amount: Decimal


class Payment(Aggregate, identity="order_id"):
    status: str = "new"
    amount: Decimal = Decimal(0)

    @handle(ChargePayment)
    def charge(self, command: ChargePayment) -> PaymentCharged | PaymentDeclined | PaymentPending:
        self._refuse_unless("new")
        if command.amount > LIMIT:
            return PaymentDeclined(order_id=self.id, reason=f"over the limit of {LIMIT}")
        if command.amount > UNCHECKED:
            return PaymentPending(order_id=self.id, amount=command.amount)
        return PaymentCharged(order_id=self.id, amount=command.amount)

    @handle(ConfirmPayment)
    def confirm(self, command: ConfirmPayment) -> PaymentCharged:
        # The clerk's confirming and the process's withdrawing meet here: the first one wins,
        # and the other one is refused.
        self._refuse_unless("pending")
        return PaymentCharged(order_id=self.id, amount=self.amount)

    @handle(WithdrawPayment)
    def withdraw(self, command: WithdrawPayment) -> PaymentWithdrawn:
        self._refuse_unless("pending")
        return PaymentWithdrawn(order_id=self.id)

    @handle(RefundPayment)
    def refund(self, command: RefundPayment) -> PaymentRefunded:
        self._refuse_unless("charged")
        # The aggregate knows what it charged; no caller has to tell it, or can get it wrong.
        return PaymentRefunded(order_id=self.id, amount=self.amount)

    @apply(PaymentCharged)
    def _charged(self, event: PaymentCharged) -> None:
        self.status = "charged"
        self.amount = event.amount

    @apply(PaymentDeclined)
    def _declined(self, event: PaymentDeclined) -> None:
        self.status = "declined"

    @apply(PaymentPending)
    def _pending(self, event: PaymentPending) -> None:
        self.status = "pending"
        self.amount = event.amount

    @apply(PaymentWithdrawn)
    def _withdrawn(self, event: PaymentWithdrawn) -> None:
        self.status = "withdrawn"

    @apply(PaymentRefunded)
    def _refunded(self, event: PaymentRefunded) -> None:
        self.status = "refunded"

    def _refuse_unless(self, status: str) -> None:
        if self.status != status:
            raise Rejected(f"the payment is {self.status}, not {status}")
