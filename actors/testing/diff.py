"""What was expected beside what was found, aligned, so that the eye finds the difference."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ..messages.codec import differ

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["fields", "sequences"]


def sequences(expected: Sequence[str], found: Sequence[str], verb: str) -> str:
    """Two lists of texts, item by item.

    What is alike stands on one line, what differs on two, with the difference marked below; one
    that is missing or too many has nothing on its other line.

    Args:
        expected: in order
        found: in order
        verb: what was done with those that were found, such as ``"issued"``

    """
    lines: list[str] = []
    if not expected and not found:
        return _row("both", "nothing")
    if not expected:
        lines.append(_row("expected", "nothing"))
    matcher = SequenceMatcher(None, expected, found, autojunk=False)
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        for ours, theirs in zip_longest(expected[start:end], found[other_start:other_end]):
            if ours == theirs:
                lines.append(_row("both", str(ours)))
                continue
            if ours is not None:
                lines.append(_row("expected", ours))
            if theirs is not None:
                lines.append(_row(verb, theirs))
            if ours is not None and theirs is not None:
                lines.append(_row("", _marks(ours, theirs)))
    if not found:
        lines.append(_row(verb, "nothing"))
    return "\n".join(line for line in lines if line)


def fields(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Named values, those that differ first and then, in short, those that do not.

    Args:
        expected: some fields
        found: all fields

    """
    lines: list[str] = []
    for name, value in expected.items():
        if differ(found[name], value):
            lines += (
                _row("expected", f"{name} = {value!r}"),
                _row("is", f"{name} = {found[name]!r}"),
            )
    lines += (
        _row("both", f"{name} = {one!r}")
        for name, one in expected.items()
        if not differ(found[name], one)
    )
    lines += (
        _row("besides", f"{name} = {one!r}") for name, one in found.items() if name not in expected
    )
    return "\n".join(lines)


def _row(label: str, text: str) -> str:
    return f"  {label:<10}{text}".rstrip()


def _marks(ours: str, theirs: str) -> str:
    """Carets below the parts of the second text that the first has not."""
    if ours.partition("(")[0] != theirs.partition("(")[0]:
        return ""
    marks = [" "] * len(theirs)
    for start, end in _parts(theirs):
        if theirs[start:end] not in {ours[one:other] for one, other in _parts(ours)}:
            marks[start:end] = "^" * (end - start)
    return "".join(marks)


def _parts(text: str) -> Iterable[tuple[int, int]]:
    """Where the arguments in a call's text are; commas within brackets or quotes part nothing."""
    depth, quote, start = 0, "", 0
    for index, one in enumerate(text):
        if quote:
            quote = "" if one == quote and text[index - 1] != "\\" else quote
        elif one in "'\"":
            quote = one
        elif one in "([{":
            depth += 1
            start = index + 1 if depth == 1 else start
        elif one in ")]}":
            depth -= 1
        if (one == "," and depth == 1 and not quote) or (one == ")" and not depth and not quote):
            yield start, index
            start = index + 2
