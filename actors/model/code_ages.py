"""By which code an instance was decided: today's, an older one, or one that cannot be compared."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..store import CorruptRecord, open_store
from .fingerprint import PYTHON

if TYPE_CHECKING:
    import os

    from ..store import Reads, Store, TransitionRecord
    from .process_definition import ProcessDefinition

__all__ = ["CodeAge", "CodeAges", "number_of_code", "older_in"]

CodeAge: TypeAlias = Literal["same", "older", "newer", "not comparable"]

_ORDER: tuple[CodeAge, ...] = ("older", "newer", "not comparable", "same")

REBUILT, BY_OPERATOR = "refresh", "operator"
"""Causes of transitions: of one that has all decided anew, and of one that an operator decided."""


def number_of_code(store: Store, definition: ProcessDefinition) -> int:
    """The number of a process manager's code of today, under which the store has it from now on."""
    return store.number_of_code(definition.name, PYTHON, definition.fingerprint)


def older_in(path: str | os.PathLike[str], definition: ProcessDefinition) -> tuple[int, str]:
    """How many instances in a store an older code decided, and the id of the first of them.

    Raises:
        StoreError: there is no store, or it cannot be opened

    """
    count, first = 0, ""
    with open_store(path, read_only=True) as store:
        ages = CodeAges(store, definition)
        for _, name in store.scan_started(definition.name):
            # What is damaged is told by a check of the store.
            with suppress(CorruptRecord):
                last = (
                    None
                    if isinstance(name, CorruptRecord)
                    else (store.last_transition(definition.name, name))
                )
                if last is not None and ages.of_instance(str(name), last) == "older":
                    count += 1
                    first = first or str(name)
    return count, first


class CodeAges:
    """Compares the codes that decided the instances of a process manager with today's.

    Args:
        store: which has the codes by number
        definition: of the process manager

    """

    def __init__(self, store: Reads, definition: ProcessDefinition) -> None:
        self._store = store
        self._process = definition.name
        self._fingerprint = definition.fingerprint
        self._ages: dict[int, CodeAge] = {0: "not comparable"}
        # Numbers ascend, so a higher one than today's is of a code that came later.
        self._today = 0
        for code in store.scan_codes():
            if (code.process, code.python, code.fingerprint) == (
                definition.name,
                PYTHON,
                self._fingerprint,
            ):
                self._today = code.number

    def of_instance(self, instance: str, last: TransitionRecord) -> CodeAge:
        """The age of the oldest code that had a part in what an instance is now.

        What it is comes of all its transitions since it started or was rebuilt for the last time.

        Args:
            instance: its id
            last: its newest transition

        Raises:
            CorruptRecord: one of them is damaged

        """
        ages: set[CodeAge] = set()
        before: TransitionRecord | None = None
        if last.version == 1 or last.cause == REBUILT:
            return self.of(last.code)
        for one in self._store.scan_transitions(self._process, instance):
            if one.cause == REBUILT or (before is not None and before.is_complete):
                ages.clear()
            # With "ended" for a handler, the class's own method decided.
            if one.cause != BY_OPERATOR or one.handler == "ended":
                ages.add(self.of(one.code))
            before = one
        return next((age for age in _ORDER if age in ages), "same")

    def of(self, number: int) -> CodeAge:
        """The age of the code with a number.

        Raises:
            CorruptRecord: what the store has of it is damaged

        """
        age = self._ages.get(number)
        if age is None:
            age = self._ages[number] = self._compared(number)
        return age

    def _compared(self, number: int) -> CodeAge:
        if number == self._today:
            return "same"
        code = self._store.code_at(number)
        if code is None or code.python != PYTHON:
            return "not comparable"
        if code.fingerprint == self._fingerprint:
            # It was written while this was put together.
            return "same"
        return "newer" if 0 < self._today < number else "older"
