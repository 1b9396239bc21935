"""What the bank tells us: the one event that comes from outside."""

from decimal import Decimal

from actors import Event


class PaymentReceived(Event, name="Bank.PaymentReceived.v1"):
    """Money arrived.

    The name says whose event it is, and stays when this class or this domain is renamed.
    `reference` is what the payer wrote, hoping that it is an invoice's number; it may be empty.
    """

    payment_id: str
    amount: Decimal
    reference: str = ""
