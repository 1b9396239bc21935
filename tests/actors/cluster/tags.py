"""A domain whose instances are found by several learnt values at once."""

from __future__ import annotations

from procession import Domain, Event, Indexed, ProcessManager, handle


class Started(Event):
    case: str
    tags: tuple[str, ...]


class Tagged(Event):
    tags: tuple[str, ...]


tagging = Domain("tagging")


@tagging.register
class Tags(ProcessManager, correlate="case", unmatched="hold"):
    case: str = ""
    tags: Indexed[tuple[str, ...]] = ()
    count: int = 0

    @handle(Started, start=True)
    def on_started(self, event: Started) -> None:
        self.tags = event.tags

    @handle(Tagged, correlate={"tags": "tags"})
    def on_tagged(self, event: Tagged) -> None:
        self.count += 1
