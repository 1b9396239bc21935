"""Reading the log: gzip CSV, one event a row, and a clear word about the first broken row.

The columns are those of `COLUMNS`; the log itself is the BPI Challenge 2012 (van Dongen,
doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f).
"""

from __future__ import annotations

import csv
import gzip
import zlib
from contextlib import contextmanager
from datetime import datetime, timedelta
from reprlib import repr as shortened
from typing import TYPE_CHECKING, TextIO

from .process import (
    Activity,
    ActivityRecorded,
    ApplicationActivated,
    ApplicationCancelled,
    ApplicationDeclined,
    ApplicationSubmitted,
    OfferCreated,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BrokenLog", "open_log"]

COLUMNS = ["seq", "time", "case", "activity", "lifecycle", "resource", "amount_requested"]

MEANING: dict[str, type[Activity]] = {
    "A_SUBMITTED": ApplicationSubmitted,
    "O_CREATED": OfferCreated,
    "A_DECLINED": ApplicationDeclined,
    "A_CANCELLED": ApplicationCancelled,
    "A_ACTIVATED": ApplicationActivated,
}

MOST_DIGITS = 18
"""So that every number fits 64 bits, and every case is short enough for a stream's name."""


class BrokenLog(Exception):
    """The log cannot be read any further: which file, which row, and why."""


@contextmanager
def open_log(path: str) -> Iterator[Iterator[Activity]]:
    """Open a log and read its header, so that a wrong file is refused before anything is stored.

    Args:
        path: of the gzip CSV file

    Yields:
        its events, read as they are asked for

    Raises:
        BrokenLog: the file is missing, is no such log, or a row is broken

    """
    try:
        file = gzip.open(path, "rt", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
    except OSError as error:
        raise BrokenLog(f"{path}: {error.strerror or error}") from error
    with file:
        rows = _rows(path, file)
        if next(rows, None) != COLUMNS:
            raise BrokenLog(f"{path}: row 0: the header is not {','.join(COLUMNS)}")
        yield _activities(path, rows)


def _rows(path: str, file: TextIO) -> Iterator[list[str]]:
    """The rows as text. Row 0 is the header, so that row and `seq` agree in a whole log."""
    number = 0
    try:
        for row in csv.reader(file, strict=True):
            yield row
            number += 1
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        # A file that ends too early, is damaged, or was never compressed shows it only here.
        raise BrokenLog(f"{path}: row {number}: {error}") from error


def _activities(path: str, rows: Iterator[list[str]]) -> Iterator[Activity]:
    last = 0
    for number, row in enumerate(rows, start=1):
        try:
            activity = _activity(row)
            if activity.seq <= last:
                # An event's id is made of it: used again, it would pass for a duplicate.
                raise ValueError(f"seq {activity.seq} comes after {last}")  # noqa: TRY301
        except ValueError as error:
            raise BrokenLog(f"{path}: row {number}: {error}") from error
        last = activity.seq
        yield activity


def _activity(row: list[str]) -> Activity:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} columns instead of {len(COLUMNS)}")
    seq, time, case, activity, lifecycle, resource, amount = row
    _number("case", case)
    return MEANING.get(activity, ActivityRecorded)(
        _number("seq", seq),
        _time(time),
        case,
        activity,
        lifecycle,
        resource or None,
        _number("amount_requested", amount),
    )


def _number(column: str, text: str) -> int:
    # int() alone would take "+1", " 1", "1_0" and other scripts' digits as well.
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise ValueError(f"{column} is no whole number: {shortened(text)}")
    return int(text)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"time is not in ISO 8601: {shortened(text)}") from None
    offset = time.utcoffset()
    if offset is None or offset % timedelta(minutes=1):
        raise ValueError(f"time has no offset in whole minutes: {shortened(text)}")
    return time
