"""Which domain each message class belongs to, and so what its wire name begins with.

Declarations decide: what a domain registers, and what the decorators of its aggregates name. What
methods mention only says, in errors, which domain is likely meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DefinitionError
from ..messages.types import Event, Message
from .completions import process_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .registered import Registered

__all__ = ["owners_of", "wire_name_of"]


def wire_name_of(cls: type[Message], domain: str) -> str:
    """The wire name of a message class that belongs to a domain."""
    return cls.__wire_name__ or f"{domain}.{cls.__name__}.v{cls.__wire_version__}"


def owners_of(domains: Sequence[Registered]) -> dict[type[Message], str]:
    """The name of the domain that each message class belongs to.

    A class belongs to the domain that registers it; otherwise to that of the aggregate which takes
    the command with ``@handle``, or applies the event with ``@apply``. All that is left belongs to
    the domain if there is only one. Among several, a class that nothing owns is refused, unless it
    says its whole wire name or stands for another domain's event.

    Args:
        domains: of one runtime

    Raises:
        DefinitionError: two domains own a class, or none owns one that is used

    """
    registered: dict[type[Message], str] = {}
    for domain in domains:
        for message in domain.messages:
            _own(registered, message, domain.name, "registered")
    declared: dict[type[Message], str] = {}
    for domain in domains:
        for aggregate in domain.aggregates.values():
            for message in (*aggregate.handlers, *aggregate.appliers):
                if message not in registered:
                    _own(declared, message, domain.name, "declared by aggregates")
    owners = declared | registered
    externals = {cls for domain in domains for cls in domain.externals}
    unowned: dict[type[Message], None] = {}
    for domain in domains:
        for cls, _ in (*_named_in_code(domain), *_handled_in(domain)):
            if cls in owners or cls in externals or process_of(cls) is not None:
                continue
            if len(domains) == 1 or cls.__wire_name__:
                owners[cls] = domain.name
            else:
                unowned[cls] = None
    if unowned:
        raise DefinitionError("\n".join(_unowned(cls, domains) for cls in unowned))
    return owners


def _own(owners: dict[type[Message], str], cls: type[Message], domain: str, how: str) -> None:
    other = owners.setdefault(cls, domain)
    if other != domain and cls.__wire_name__ is None:
        raise DefinitionError(
            f"{cls.__qualname__} is {how} in the domains {other} and {domain}, so its wire "
            f"name is not clear; say whose it is with `{other}.register({cls.__name__})`, or "
            f'give it `name="{other}.{cls.__name__}.v{cls.__wire_version__}"`'
        )


def _named_in_code(domain: Registered) -> Iterator[tuple[type[Message], str]]:
    """What methods of a domain's aggregates mention, and where."""
    for aggregate in domain.aggregates.values():
        for event in sorted(aggregate.events, key=lambda event: event.__qualname__):
            yield event, f"the code of {aggregate.cls.__qualname__} names it"


def _handled_in(domain: Registered) -> Iterator[tuple[type[Message], str]]:
    """What the process managers and projections of a domain are told of, and where."""
    for process in domain.processes.values():
        for handlers in (process.handlers, process.effects, process.rejections):
            for cls, handler in handlers.items():
                yield cls, f"{process.cls.__qualname__}.{handler.name} handles it"
    for projection in domain.projections.values():
        for cls, handler in projection.handlers.items():
            yield cls, f"{projection.cls.__qualname__}.{handler.name} projects it"


def _unowned(cls: type[Message], domains: Sequence[Registered]) -> str:
    likely: dict[str, None] = {}
    places: dict[str, None] = {}
    for found in (_named_in_code, _handled_in):
        met = [
            (domain.name, place) for domain in domains for one, place in found(domain) if one is cls
        ]
        places |= dict.fromkeys(place for _, place in met)
        # What makes an event is likelier its home than what listens to it.
        likely = likely or dict.fromkeys(name for name, _ in met)
    mends = [f"`{name}.register({cls.__name__})`" for name in likely]
    if issubclass(cls, Event) and not any(
        cls in aggregate.events for domain in domains for aggregate in domain.aggregates.values()
    ):
        name = f"<that domain>.{cls.__name__}.v{cls.__wire_version__}"
        mends.append(
            f"if another service makes it, "
            f'`{next(iter(likely))}.register_external_event({cls.__name__}, "{name}")`'
        )
    return (
        f"{cls.__qualname__} belongs to none of the domains "
        f"{', '.join(domain.name for domain in domains)}, so it has no wire name; "
        f"{', '.join(places)}. Register it where it belongs: {' or '.join(mends)}"
    )
