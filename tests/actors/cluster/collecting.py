"""A domain that says how often the cycle collector runs in the process that carries it out."""

from __future__ import annotations

import gc

from procession import Aggregate, Command, Domain, Event, handle


class Look(Command):
    name: str


class Seen(Event):
    thresholds: list[int]


collecting = Domain("collecting")


@collecting.register
class Collector(Aggregate, identity="name"):
    @handle(Look)
    def look(self, command: Look) -> Seen:
        del command
        return Seen(list(gc.get_threshold()))
