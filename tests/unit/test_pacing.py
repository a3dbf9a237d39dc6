"""Runs of one process begin one after another, and nobody holds the others up for long."""

from __future__ import annotations

import os
import threading

import pytest

from llm_gateway import pacing
from llm_gateway.pacing import end_turn, in_turn


def test_one_begins_at_a_time() -> None:
    """Twenty threads, of which no two are on their way at once; each has its turn."""
    under_way: list[int] = []
    most: list[int] = []

    def begins(number: int) -> None:
        with in_turn():
            under_way.append(number)
            threading.Event().wait(0.01)
            most.append(len(under_way))
            under_way.remove(number)

    threads = [threading.Thread(target=begins, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_the_next_begins_while_this_one_waits() -> None:
    """A turn ends with ``end_turn``, and only once: the next one's is not ended with it."""
    begun, seen = threading.Event(), threading.Event()

    def begins() -> None:
        with in_turn():
            begun.set()
            seen.wait(30)

    with in_turn():
        end_turn()
        thread = threading.Thread(target=begins)
        thread.start()
        assert begun.wait(30)
        end_turn()
        assert pacing._turn.locked()
    assert pacing._turn.locked()
    seen.set()
    thread.join()
    assert not pacing._turn.locked()


def test_who_keeps_its_turn_holds_the_others_up_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is courtesy; and who began without a turn ends nobody else's."""
    monkeypatch.setattr(pacing, "PATIENCE", 0.05)
    begun = threading.Event()

    def begins() -> None:
        with in_turn():
            begun.set()

    with in_turn():
        thread = threading.Thread(target=begins)
        thread.start()
        thread.join(30)
        assert begun.is_set() and pacing._turn.locked()


def test_without_a_turn_there_is_none_to_end() -> None:
    """Followers and commands wait in threads that began no run."""
    end_turn()
    assert not pacing._turn.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to fork")
def test_a_fork_does_not_wait_for_its_parents_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread whose turn it was is not in the child."""
    monkeypatch.setattr(pacing, "PATIENCE", 600.0)
    held, done = threading.Event(), threading.Event()

    def begins() -> None:
        with in_turn():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=begins)
    thread.start()
    assert held.wait(30)
    child = os.fork()
    if child == 0:
        with in_turn():
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    thread.join()
