"""The ledger: one entry for each thing that is booked.

An entry is an aggregate of its own, so that entries never wait for one another; a balance is the
sum of the entries, for their readers. Not only payments are booked, so an entry's id says
what it is about: ``payment:p1``, ``fee:7``.
"""

from decimal import Decimal

from procession import Aggregate, Command, Event, Rejected, apply, handle


class PostEntry(Command):
    entry_id: str
    account: str
    amount: Decimal


class EntryPosted(Event):
    entry_id: str
    account: str
    amount: Decimal


class LedgerEntry(Aggregate, identity="entry_id"):
    is_posted: bool = False

    @handle(PostEntry)
    def post(self, command: PostEntry) -> EntryPosted:
        if self.is_posted:
            raise Rejected("the entry was posted already")
        return EntryPosted(entry_id=self.id, account=command.account, amount=command.amount)

    @apply(EntryPosted)
    def _posted(self, event: EntryPosted) -> None:
        self.is_posted = True
