"""Payments that the bank reports: matched to an invoice, booked, and the customer told.

The first event comes from outside: no aggregate here makes a `PaymentReceived`, the adapter of the
bank's feed publishes it. Each module holds one aggregate with its commands and events; `process`
ties them together.
"""

from actors import Domain

from .bank import PaymentReceived
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
reconciliation.register(Invoice, LedgerEntry, Notice, HeldPayment, PaymentReconciliation)

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
    "PaymentUnmatched",
    "PostEntry",
    "reconciliation",
]
