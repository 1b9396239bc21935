"""What the bank tells us, in our own words: the events that come from outside.

The bank has its own classes for them, in a package that we do not have. Ours stand for them by
their wire names, and have only the fields that matter here; the domain says which is which.
"""

from decimal import Decimal

from procession import Event


class PaymentReceived(Event):
    """Money arrived, and may still be called back.

    `reference` is what the payer wrote, hoping that it is an invoice's number; it may be empty.
    `transaction` is what the bank calls it from now on.
    """

    payment_id: str
    transaction: str
    amount: Decimal
    reference: str = ""


class PaymentSettled(Event):
    """The money is there to stay."""

    transaction: str
