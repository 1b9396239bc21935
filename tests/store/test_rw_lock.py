"""Many read the memory map or one changes it, and no reader can hold up another for ever."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from procession.store.lmdb.rw_lock import RWLock

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 30


@pytest.fixture
def lock() -> Iterator[RWLock]:
    made = RWLock()
    yield made
    # All tokens have been given back.
    with made.alone_at_once() as is_alone:
        assert is_alone


def change(lock: RWLock, done: threading.Event) -> threading.Thread:
    def alone() -> None:
        with lock.alone():
            done.set()

    thread = threading.Thread(target=alone, daemon=True)
    thread.start()
    return thread


def test_a_change_comes_when_the_last_reader_has_left(lock: RWLock) -> None:
    changed = threading.Event()
    token = lock.token()
    with token:
        assert lock.lets_in(token)
        thread = change(lock, changed)
        assert not changed.is_set()
    lock.leave(token)
    assert changed.wait(WAIT)
    thread.join(WAIT)


def test_a_reader_is_not_let_in_while_the_map_changes(lock: RWLock) -> None:
    token = lock.token()
    with lock.alone():
        later = lock.token()
        with later:
            assert not lock.lets_in(later)
    with token:
        # The change has forgotten a token that was not held, as one of an interrupted reader is.
        assert not lock.lets_in(token)
    lock.leave(later)


def test_a_change_gives_way_to_one_who_waits_for_it_while_it_waits_for_them(lock: RWLock) -> None:
    # As a signal handler that reads, in a thread that reads.
    changed = threading.Event()
    outer = lock.token()
    with outer:
        assert lock.lets_in(outer)
        thread = change(lock, changed)
        entered = 0
        # Whether the change waits now or not, the inner one comes in.
        while entered < 20:
            lock.wait_at_entrance()
            inner = lock.token()
            with inner:
                entered += lock.lets_in(inner)
            lock.leave(inner)
        assert not changed.is_set()
    lock.leave(outer)
    assert changed.wait(WAIT)
    thread.join(WAIT)


def test_an_interrupted_reader_holds_up_no_change(lock: RWLock) -> None:
    token = lock.token()
    with pytest.raises(KeyboardInterrupt), token:
        raise KeyboardInterrupt
    with lock.alone_at_once() as is_alone:
        assert is_alone
