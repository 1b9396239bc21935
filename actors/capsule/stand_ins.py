"""Stand-ins for values: others of the same type and length, the same one for the same value.

They are drawn at random, and which stands for which is forgotten with the capsule's making: nothing
that is kept leads back. Numbers that are equal have one stand-in, however they are written.
"""

from __future__ import annotations

import re
import secrets
import string
from datetime import date, timedelta
from typing import Any, TypeAlias
from uuid import uuid4

__all__ = ["StandIns", "is_short"]

Leaf: TypeAlias = "str | int | float | bytes | bool | None"

FOLLOWED = 3
"""Characters from which on a text is looked for wherever else it stands."""

FOLLOWED_DIGITS = 4
"""Digits, with the point, from which on a number is: shorter ones stand for too much else."""

INSIDE = 5
"""Characters from which on it is also looked for inside of words."""

DRAWS = 200
"""Attempts to find a stand-in that no other value has."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_DURATION = re.compile(r"[+-]?P[\dDTHMSW.]+")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"(\d\d):\d\d:\d\d")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_choice = secrets.choice


class StandIns:
    """The stand-ins of one capsule."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        self._blobs: dict[bytes, bytes] = {}
        self._taken: set[str] = set()
        self._followed: set[str] = set()
        self._chosen: dict[tuple[Any, ...], dict[Any, Any]] = {}
        self._kept = ""
        self._pattern: re.Pattern[str] | None = None

    # Learning

    def keep(self, ids: set[str]) -> None:
        """Texts that are ids: what is one of them, or a part, is not masked."""
        self._kept = "\0".join(("", *ids, ""))

    def is_kept(self, value: Leaf) -> bool:
        """Whether a value is an id, so that it stays as it is."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return False
        text = str(value)
        wanted = text if len(text) >= INSIDE else f"\0{text}\0"
        return wanted in self._kept

    def learn(self, value: Leaf, choices: tuple[Any, ...] = ()) -> Any:
        """The stand-in for a value of a field that is masked.

        Args:
            value: a plain value
            choices: of a field that can have these only, all of them

        """
        if value is None or self.is_kept(value):
            return value
        if choices:
            return self._choose(value, choices)
        if isinstance(value, bool):
            return bool(self._choose(value, (True, False)))
        if isinstance(value, bytes):
            if value not in self._blobs:
                self._blobs[value] = secrets.token_bytes(len(value))
            return self._blobs[value]
        if isinstance(value, int | float):
            return self._number(value)
        return self._text(value)

    def _choose(self, value: Any, choices: tuple[Any, ...]) -> Any:
        if choices not in self._chosen:
            left = list(choices)
            self._chosen[choices] = {one: left.pop(secrets.randbelow(len(left))) for one in choices}
        return self._chosen[choices].get(value, value)

    def _number(self, value: float) -> int | float:
        text = repr(value)
        if _NUMBER.fullmatch(text) is None:
            # It is no number, or one without an end.
            return value
        return type(value)(self._digits(text))

    def _digits(self, text: str) -> str:
        """A number of as many digits, with the same sign, zeros at its ends, and exponent."""
        sign, digits, tail = _parts_of_number(text)
        if not digits.strip("0."):
            return text
        if digits not in self._numbers:
            self._numbers[digits] = self._draw(digits, _other_digits)
        return sign + self._numbers[digits] + tail

    def _text(self, value: str) -> str:
        if not value:
            return value
        if _NUMBER.fullmatch(value):
            return self._digits(value)
        if value not in self._texts:
            self._texts[value] = self._draw(value, _shaped)
        return self._texts[value]

    def _draw(self, value: str, make: Any) -> str:
        made = value
        for _ in range(DRAWS):
            made = make(value)
            if made != value and made not in self._taken:
                break
        self._taken.add(made)
        return made

    # Following

    def made(self, ids: set[str]) -> None:
        """All values are learnt; others are looked for from now on, ids of any length."""
        words = [one for one in self._texts if len(one) >= FOLLOWED or one in ids]
        parts = [
            re.escape(one) if len(one) >= INSIDE else rf"(?<!\w){re.escape(one)}(?!\w)"
            for one in sorted(words, key=len, reverse=True)
        ]
        self._followed = {one for one in self._numbers if _is_long(one) or one in ids}
        parts += [rf"(?<![\w.]){re.escape(one)}(?!\d)" for one in self._followed]
        self._pattern = re.compile("|".join(parts)) if parts else None

    def followed(self, value: Any) -> Any:
        """A plain value wherever it stands, with what is masked elsewhere replaced."""
        if isinstance(value, str):
            return self.in_text(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            sign, digits, tail = _parts_of_number(repr(value))
            if digits in self._followed:
                return type(value)(sign + self._numbers[digits] + tail)
            return value
        if isinstance(value, bytes):
            return self._blobs.get(value, value)
        if isinstance(value, dict):
            return {self.followed(key): self.followed(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.followed(one) for one in value]
        return value

    def in_text(self, text: str) -> str:
        """A text with the stand-ins of what is masked in it."""
        if self._pattern is None or not text:
            return text
        if _NUMBER.fullmatch(text):
            sign, digits, tail = _parts_of_number(text)
            if digits in self._followed:
                return sign + self._numbers[digits] + tail
        return self._pattern.sub(self._replacement, text)

    def _replacement(self, found: re.Match[str]) -> str:
        text = found.group()
        return self._texts.get(text) or self._numbers[text]


def is_short(value: Leaf) -> bool:
    """Whether a value is looked for nowhere but in the fields that are masked."""
    if value is None or isinstance(value, bool | bytes):
        return isinstance(value, bool)
    text = value if isinstance(value, str) else repr(value)
    if _NUMBER.fullmatch(text):
        return not _is_long(_parts_of_number(text)[1])
    return len(text) < FOLLOWED


def _is_long(digits: str) -> bool:
    return len(digits) >= FOLLOWED_DIGITS


def _parts_of_number(text: str) -> tuple[str, str, str]:
    """The sign, the digits that make it another number, and the zeros and exponent behind them."""
    sign = text[0] if text[:1] in {"+", "-"} else ""
    rest = text[len(sign) :]
    mantissa, exponent = rest, ""
    for mark in "eE":
        before, found, after = rest.partition(mark)
        if found:
            mantissa, exponent = before, found + after
    digits = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return sign, digits, mantissa[len(digits) :] + exponent


def _other_digits(digits: str) -> str:
    """Others at each place; the first and the last are no zero where they were none."""
    made = [_choice("123456789") if one in "123456789" else one for one in digits]
    return "".join(made)


def _shaped(value: str) -> str:
    """A text of the same kind: a UUID, a time, a length of time, or letters for letters."""
    if _UUID.fullmatch(value):
        made = str(uuid4())
        return made.upper() if value.isupper() else made
    if _DURATION.fullmatch(value):
        return "".join(_choice("123456789") if one in "123456789" else one for one in value)
    day = _DAY.match(value)
    if day is not None:
        return _TIME.sub(_other_minute, _other_day(day.group()) + value[day.end() :])
    if _TIME.match(value):
        return _TIME.sub(_other_minute, value)
    return "".join(map(_other_character, value))


def _other_day(text: str) -> str:
    """A day of the same year, so that no offset and no calendar runs over."""
    day = date.fromisoformat(text)
    first = date(day.year, 1, 1)
    return (first + timedelta(days=secrets.randbelow(365))).isoformat()


def _other_minute(found: re.Match[str]) -> str:
    return f"{found.group(1)}:{secrets.randbelow(60):02}:{secrets.randbelow(60):02}"


def _other_character(one: str) -> str:
    if one in string.digits:
        return one if one == "0" else _choice("123456789")
    if one.isalpha():
        letters = string.ascii_uppercase if one.isupper() else string.ascii_lowercase
        return _choice(letters)
    return one
