"""What an identity provider tells us: that an email belongs to the person it names.

People of a company that has such a provider need no code. The provider reports when it likes, also
before the account is registered here.
"""

from procession import Event


class EmailConfirmed(Event):
    account_id: str
