"""Pieces of text that come together are delivered and recorded as one."""

from __future__ import annotations

from llm_gateway.events import Event, Reasoning, Text, ToolCall
from llm_gateway.watch import coalesced


def test_neighbours_of_a_kind_and_message_are_joined_and_nothing_else() -> None:
    """What lies between two pieces keeps them apart."""
    call = ToolCall("t", "Read", {})
    events: list[Event] = [
        *(Text("a"), Text("b"), Text("c", 1), Text("d", 1)),
        *(Reasoning("e"), Reasoning("f"), Text("g", 1)),
        *(call, Text("h", 1), call, Reasoning("i")),
    ]
    assert coalesced(events) == [
        *(Text("ab"), Text("cd", 1), Reasoning("ef"), Text("g", 1)),
        *(call, Text("h", 1), call, Reasoning("i")),
    ]
    assert coalesced([]) == []


def test_halves_of_a_pair_that_come_apart_are_whole_together() -> None:
    """And a half that stays alone becomes a question mark."""
    assert coalesced([Text("\ud83d"), Text("!")]) == [Text("?!")]
    assert coalesced([call := ToolCall("t", "x", {}), Text("\ud83d")]) == [call, Text("?")]
