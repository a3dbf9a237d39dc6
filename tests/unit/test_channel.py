"""The queue between the thread that owns a child and whoever reads."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway.channel import Channel


def drained(channel: Channel) -> list[Any]:
    got: list[Any] = []
    while (batch := channel.get()) is not None:
        got += batch
    return got


def test_what_goes_in_comes_out_in_order() -> None:
    """Then None, again and again."""
    channel = Channel()
    channel.put([1, 2])
    channel.put([3])
    channel.close()
    assert drained(channel) == [1, 2, 3]
    assert channel.get() is None


def test_an_error_comes_after_the_last_batch() -> None:
    """The reader first gets what there is."""
    channel = Channel()
    channel.put([1])
    channel.close(ValueError("broken"))
    assert channel.get() == [1]
    with pytest.raises(ValueError, match="broken"):
        channel.get()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=60), st.integers(0, 100))
def test_order_holds_however_reader_and_writer_take_turns(
    steps: list[tuple[bool, int]], in_memory: int
) -> None:
    """In memory, in the file, and back: nothing is lost, doubled or overtaken."""
    channel = Channel(in_memory)
    put = 0
    got: list[int] = []
    for write, weight in steps:
        if write:
            channel.put([put], weight)
            put += 1
        elif len(got) < put:
            got += channel.get() or []
    channel.close()
    assert got + drained(channel) == list(range(put))


def test_a_reader_that_stops_costs_a_file_and_no_memory() -> None:
    """What does not fit goes to an unnamed file."""
    channel = Channel(in_memory=1000)
    for n in range(200):
        channel.put([(n, "x" * 1000)], 1000)
    assert channel._held <= 2000
    channel.close()
    assert [n for n, _ in drained(channel)] == list(range(200))


def test_a_full_disk_costs_memory_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on, in order."""

    def full() -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    channel = Channel(in_memory=10)
    for n in range(50):
        channel.put([n], 5)
    channel.close()
    assert drained(channel) == list(range(50))


def test_the_writer_never_waits() -> None:
    """Although nobody reads."""
    channel = Channel(in_memory=100)
    done = threading.Event()

    def write() -> None:
        for _ in range(100):
            channel.put(["x" * 100_000], 100_000)
        done.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    assert done.wait(30)
    channel.close()
    assert len(drained(channel)) == 100


def test_a_reader_in_an_event_loop_leaves_the_loop_free() -> None:
    """Other tasks run while it waits, and it is woken from another thread."""
    channel = Channel()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    def write() -> None:
        for n in range(5):
            time.sleep(0.03)
            channel.put([n])
        channel.close()

    async def read() -> list[Any]:
        other = asyncio.create_task(tick())
        threading.Thread(target=write, daemon=True).start()
        got: list[Any] = []
        while (batch := await channel.aget()) is not None:
            got += batch
        other.cancel()
        return got

    assert asyncio.run(read()) == [0, 1, 2, 3, 4]
    assert ticks > 3


def test_a_reader_that_gave_up_does_not_break_the_writer() -> None:
    """A cancelled read leaves nothing behind, and what came meanwhile is there for the next."""
    channel = Channel()

    async def impatient() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(channel.aget(), 0.05)

    asyncio.run(impatient())
    channel.put([1])
    channel.close()
    assert drained(channel) == [1]
