"""Payments that the bank reports: matched to an invoice, booked, and the customer told.

The bank's events come from outside: no aggregate here makes them, and their classes belong to the
bank. Each module holds one aggregate with its commands and events; `bank` has what is read of the
bank's events, and `process` ties them together.
"""

from procession import Domain

from .bank import PaymentReceived, PaymentSettled
from .holding import HeldPayment, HoldPayment, PaymentHeld
from .invoices import (
    Invoice,
    InvoiceIssued,
    IssueInvoice,
    MatchPayment,
    PaymentMatched,
    PaymentUnmatched,
)
from .ledger import EntryPosted, LedgerEntry, PostEntry
from .notices import CustomerNotified, Notice, NotifyCustomer
from .process import PaymentReconciliation

reconciliation = Domain("reconciliation")
reconciliation.register_external_event(PaymentReceived, "Bank.PaymentReceived.v1")
reconciliation.register_external_event(PaymentSettled, "Bank.PaymentSettled.v1")
reconciliation.register(Invoice, LedgerEntry, Notice, HeldPayment, PaymentReconciliation)
# No aggregate applies it, so the domain itself says that the event is its own.
reconciliation.register(PaymentUnmatched)

__all__ = [
    "CustomerNotified",
    "EntryPosted",
    "HeldPayment",
    "HoldPayment",
    "Invoice",
    "InvoiceIssued",
    "IssueInvoice",
    "LedgerEntry",
    "MatchPayment",
    "Notice",
    "NotifyCustomer",
    "PaymentHeld",
    "PaymentMatched",
    "PaymentReceived",
    "PaymentReconciliation",
    "PaymentSettled",
    "PaymentUnmatched",
    "PostEntry",
    "reconciliation",
]
