"""Waiting on bare locks, and calls that another thread makes."""

from __future__ import annotations

import signal
import threading

import pytest

from procession.store.interrupts import Bell, Latch, _Errand, apart, uninterrupted

WAIT = 30


def test_a_latch_lets_all_on_who_wait_and_who_come_later() -> None:
    latch = Latch()
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(latch.wait(WAIT))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not latch.wait(0)
    latch.open()
    for thread in threads:
        thread.join(WAIT)
    assert found == [True] * 3
    latch.open()
    assert latch.wait()


def test_a_signal_that_does_not_wake_the_main_thread_is_handled_while_it_waits() -> None:
    latch, is_handled = Latch(), []

    def handle(*_: object) -> None:
        is_handled.append(True)
        latch.open()

    def send() -> None:
        while not latch._sleepers:
            Latch().wait(0.001)
        Latch().wait(0.01)
        # As one that comes right before the main thread sleeps: it interrupts another thread.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    rescue = threading.Timer(30, latch.open)
    rescue.start()
    try:
        threading.Timer(0, send).start()
        latch.wait()
        assert is_handled
        assert rescue.is_alive()
    finally:
        rescue.cancel()
        signal.signal(signal.SIGUSR1, before)


def test_a_call_of_the_main_thread_is_made_by_another_one_and_answers_as_if_it_were_not() -> None:
    here = threading.get_ident()
    assert uninterrupted(threading.get_ident, "elsewhere") != here

    def fail() -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        uninterrupted(fail, "elsewhere")


def test_a_call_of_another_thread_is_made_there() -> None:
    found: list[bool] = []
    thread = threading.Thread(
        target=lambda: found.append(uninterrupted(threading.get_ident, "x") == thread.ident)
    )
    thread.start()
    thread.join(WAIT)
    assert found == [True]


def test_what_comes_of_a_call_that_was_given_up_is_undone() -> None:
    began, may_end, was_undone = threading.Event(), threading.Event(), threading.Event()
    undone: list[str] = []

    def call() -> str:
        began.set()
        may_end.wait(WAIT)
        return "made"

    def undo(result: str) -> None:
        undone.append(result)
        was_undone.set()

    errand = _Errand(call, undo)
    thread = threading.Thread(target=errand.run)
    thread.start()
    assert began.wait(WAIT)
    with pytest.raises(TimeoutError):
        errand.wait(0)
    errand.give_up()
    assert not undone
    may_end.set()
    assert was_undone.wait(WAIT)
    thread.join(WAIT)
    assert undone == ["made"]


def test_a_call_that_was_given_up_before_it_began_is_not_made() -> None:
    made: list[str] = []
    errand = _Errand(lambda: made.append("made"), None)
    errand.give_up()
    errand.run()
    assert not made


def test_a_call_is_waited_for_no_longer_than_its_time() -> None:
    may_end = threading.Event()
    with pytest.raises(TimeoutError):
        apart(lambda: may_end.wait(WAIT), "elsewhere", timeout=0)
    may_end.set()


def test_a_bell_that_was_rung_twice_wakes_two() -> None:
    # As when an interrupt came behind the first: a `Condition` would wake the same one again.
    lock = threading.Lock()
    bell = Bell(lock)
    woken: list[bool] = []

    def sleep() -> None:
        with lock:
            woken.append(bell.wait(WAIT))

    threads = [threading.Thread(target=sleep) for _ in range(2)]
    for thread in threads:
        thread.start()
    rung = 0
    while rung < 2:
        with lock:
            if len(bell._sleepers) == 2 - len(woken) and bell._sleepers:
                bell.notify()
                rung += 1
    for thread in threads:
        thread.join(WAIT)
    assert woken == [True, True]
