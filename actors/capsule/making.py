"""Making a capsule: what belongs to one instance, taken out of a store and masked, into a file."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING

from ..clock import SystemClock
from ..errors import UnknownMessage
from ..model.domain import Domain
from ..model.registry import Registry
from ..store import divided_store, frozen, open_store
from .closure import Closure
from .errors import CapsuleError
from .file import VERSION, Code, Contents, Failure, write
from .masking import Fields, Masking

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from ..authoring.process_manager import ProcessManager
    from ..model.process_definition import ProcessDefinition
    from ..store import Excerpt, PayloadCodec, Store

__all__ = ["MOST", "make_capsule"]

MOST = 200_000
"""Events and transitions that a capsule has at most, unless more are allowed."""


def make_capsule(
    store: str | os.PathLike[str],
    domains: Domain | Iterable[Domain],
    process: type[ProcessManager] | str,
    id: object,  # noqa: A002 - as `Runtime.get` calls it
    path: str | os.PathLike[str],
    *,
    mask: Iterable[str] = (),
    mask_ids: bool = False,
    codec: PayloadCodec | None = None,
    most: int = MOST,
) -> Contents:
    """Take one instance with all that it came of into a file, beside the store's service or not.

    The store is read as it is at one moment, and only what belongs to the instance is kept of it.

    Args:
        store: its folder, or its address in a database
        domains: the classes
        process: the class of the process manager, or its name
        id: of the instance
        path: of the file, which is missing; it can be read by its owner only
        mask: fields whose values are replaced, each as ``Type.field``, wherever these values stand
        mask_ids: whether values are masked too that are ids of streams or instances
        codec: of a store that has one; the capsule has none
        most: events and transitions that there may be

    Returns:
        what the capsule says of itself

    Raises:
        UnknownMessage: no domain has the process manager
        UnknownInstance: the store has no such instance
        CapsuleError: more belongs to it than `most`, a field to mask is in no class, or the file
            cannot be written
        StoreError: there is no store, or a record that belongs to the instance is damaged

    """
    registry = Registry([domains] if isinstance(domains, Domain) else domains)
    definition = _definition(registry, process)
    fields = Fields(registry, mask)
    with ExitStack() as opened:
        stores = [opened.enter_context(frozen(one)) for one in _opened(store, codec, opened)]
        if mask_ids and len(stores) > 1:
            raise CapsuleError(
                "the ids of a divided store say in which partition something is, so they cannot "
                "be masked; leave that out"
            )
        closure = Closure(stores, registry, most)
        instance = definition.id_of(id)
        closure.gather(definition.name, instance)
        masking = Masking(fields, registry, ids=mask_ids)
        masking.mask(closure.excerpts)
        closure.index()
        family = secrets.token_hex(16)
        partitions = [
            excerpt.tables(one.partition, family)
            for excerpt, one in zip(closure.excerpts, stores, strict=True)
        ]
    excerpts = closure.excerpts
    contents = Contents(
        version=VERSION,
        procession=version("procession"),
        made=SystemClock().now().isoformat(timespec="seconds"),
        newest=max(map(_newest, excerpts)),
        process=definition.name,
        instance=masking.id_of(instance),
        partitions=len(excerpts),
        events=sum(len(one.events) for one in excerpts),
        transitions=sum(len(one.transitions) for one in excerpts),
        codes=[
            Code(one.process, one.python, one.fingerprint.hex())
            for excerpt in excerpts
            for one in excerpt.codes.values()
        ],
        failures=[one for excerpt in excerpts for one in _failures(excerpt)],
        masked=masking.told(),
        masks_ids=mask_ids,
        members={},
    )
    return write(path, contents, partitions)


def _definition(registry: Registry, process: type[ProcessManager] | str) -> ProcessDefinition:
    if not isinstance(process, str):
        return registry.process(process)
    found = [
        one
        for one in registry.processes.values()
        if process in {one.name, one.name.rpartition(".")[2]}
    ]
    if len(found) != 1:
        names = ", ".join(one.name for one in registry.processes.values())
        raise UnknownMessage(
            f"there is no process manager {process!r} in these domains, or there are several; "
            f"there are: {names or 'none'}"
        )
    return found[0]


def _opened(
    place: str | os.PathLike[str], codec: PayloadCodec | None, opened: ExitStack
) -> Iterator[Store]:
    """The partitions of a store, to be read."""
    divided = divided_store(place)
    if divided is None:
        yield opened.enter_context(open_store(place, read_only=True, codec=codec))
        return
    for number in range(divided.count):
        yield opened.enter_context(divided.open(number, read_only=True, codec=codec))


def _newest(excerpt: Excerpt) -> int:
    times = [one.time for one in excerpt.events.values()]
    times += [one.time for _, _, one in excerpt.transitions.values()]
    times += [one.time for one in excerpt.parked.values()]
    return max(times, default=0)


def _failures(excerpt: Excerpt) -> Iterator[Failure]:
    for one in excerpt.parked.values():
        yield Failure(
            one.process,
            one.instance,
            one.cause,
            one.effect or one.handler,
            one.error_type,
            one.error_text,
            one.place,
        )
    for (process, instance), block in excerpt.blocks.items():
        if block.kind == "retry":
            event = excerpt.events.get(block.position)
            cause = f"timeout:{block.name}" if block.name else f"refusal {block.sequence}"
            yield Failure(process, instance, event.event_id if event else cause, "", "", "", "")
