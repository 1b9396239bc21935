"""Checks learnt keys: the index against the states, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..identifiers import PRUNED
from ..layout.keys import digest
from ..state_changes import texts_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ..layout.schema import TransitionRow
    from .inspecting import Inspection

    Learnt: TypeAlias = set[tuple[str, int, str]]

__all__ = ["check_index", "not_in_index"]


def check_index(inspection: Inspection, learnt: Learnt) -> None:
    """Go through the index.

    Args:
        inspection: of the store
        learnt: process, version of its state, and name of each field that is known to be a
            learnt key; those that the index shows to be are added

    """
    processes = inspection.processes()
    for key, _, _ in inspection.rows("index"):
        inspection.say_all("index", key, _of_index(inspection, key, processes, learnt))


def _of_index(
    inspection: Inspection, key: bytes, processes: list[str], learnt: Learnt
) -> Iterator[str]:
    """Some state of that instance has such a value; notes of which process and field it is."""
    wanted, instance = key[:16], key[16:].decode()
    for process in processes:
        last = inspection.last_transition(process, instance)
        if last is None:
            continue
        field = _field_of(wanted, process, last)
        if field is not None:
            learnt.add((process, last.state_version, field))
            return
        # What an older version of the class wrote stays, and does no harm; its state may be gone.
        if last.cause == PRUNED:
            return
        for older in inspection.transitions(process, instance):
            if older.state_version != last.state_version and _field_of(wanted, process, older):
                return
    if inspection.partition is None or inspection.partition.has(instance):
        yield f"is for a value that no state of {instance} has"


def _field_of(wanted: bytes, process: str, row: TransitionRow) -> str | None:
    for field, text in texts_in(row.state):
        if digest(process, field, text) == wanted:
            return field
    return None


def not_in_index(inspection: Inspection, last: TransitionRow, learnt: Learnt) -> Iterator[str]:
    """Whether the index finds an instance by what its newest transition says."""
    if not learnt:
        return
    name, partition = last.instance.encode(), inspection.partition
    for field, text in texts_in(last.state):
        if partition is not None and not partition.has(text):
            # The partition of the value has the row.
            continue
        if (last.process, last.state_version, field) in learnt and not inspection.has(
            "index", digest(last.process, field, text) + name
        ):
            yield f"has {field}={text!r}, and the index does not find it by that"
