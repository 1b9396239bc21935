"""The notice: that a customer was told of a payment."""

from decimal import Decimal

from procession import Aggregate, Command, Event, Rejected, apply, handle


class NotifyCustomer(Command):
    payment_id: str
    customer_id: str
    amount: Decimal


class CustomerNotified(Event):
    payment_id: str
    customer_id: str
    amount: Decimal


class Notice(Aggregate, identity="payment_id"):
    is_sent: bool = False

    @handle(NotifyCustomer)
    def notify(self, command: NotifyCustomer) -> CustomerNotified:
        if self.is_sent:
            raise Rejected("the customer was notified already")
        return CustomerNotified(
            payment_id=self.id, customer_id=command.customer_id, amount=command.amount
        )

    @apply(CustomerNotified)
    def _notified(self, event: CustomerNotified) -> None:
        self.is_sent = True
