"""A shop whose process manager follows what others caused, for capsules of it."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import ClassVar, Literal
from uuid import UUID

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    apply,
    handle,
    timeout,
)

shop = Domain("incident")


class Rank(Enum):
    PLAIN = "plain"
    GOLD = "gold"


class Placed(Event):
    order_id: str
    customer: str
    email: str
    card: int
    total: Decimal
    born: datetime
    token: UUID
    photo: bytes
    rank: Rank
    kind: Literal["web", "phone"]
    notes: dict[str, list[str]]


class Reserve(Command):
    article: str
    order_id: str
    customer: str


class Reserved(Event):
    article: str
    order_id: str
    customer: str


class Pack(Event):
    order_id: str
    parcel: str


class Arrived(Event):
    parcel: str
    signed: str


@shop.register
class Stock(Aggregate, identity="article"):
    reserved: int = 0

    @handle(Reserve)
    def reserve(self, command: Reserve) -> Reserved:
        return Reserved(article=self.id, order_id=command.order_id, customer=command.customer)

    @apply(Reserved)
    def _reserved(self, event: Reserved) -> None:
        self.reserved += 1


@shop.register
class Buying(ProcessManager, correlate="order_id"):
    """Issues what makes the other one begin."""

    order_id: str = ""
    customer: str = ""

    @handle(Placed, start=True)
    def placed(self, event: Placed) -> None:
        self.customer = event.customer
        article = f"hat-{int(self.order_id[1:]) % 2}"
        self.issue(Reserve(article=article, order_id=self.order_id, customer=event.customer))


@shop.register
class Sending(ProcessManager, correlate="order_id"):
    LOOKS_AT_SIGNATURES: ClassVar[bool] = True

    order_id: str = ""
    told: list[str] = []
    parcel: Indexed[str] = ""

    @handle(Reserved, start=True)
    def reserved(self, event: Reserved) -> None:
        self.told.append(f"reserved for {event.customer}")
        self.set_timeout("late", timedelta(days=1))

    @handle(Pack)
    def packed(self, event: Pack) -> None:
        self.parcel = event.parcel

    @handle(Arrived, correlate={"parcel": "parcel"})
    def arrived(self, event: Arrived) -> None:
        if self.LOOKS_AT_SIGNATURES and event.signed not in self.told[0]:
            raise ValueError(f"signed by {event.signed}, and {self.told[0]}")
        self.mark_as_complete()

    @timeout("late")
    def late(self) -> None:
        self.told.append("late")
