"""Recorded output through a parser, whole or in pieces: what every provider's replay tests use.

    from support import answer, assert_same_however_cut, cuts, error, load

    def test_an_answer() -> None:
        events, reply = answer(CodexParser(), load("codex", "json.ok.jsonl"))
        assert events == [Session("…"), Text("hello"), Usage(…)]
        assert reply.text == "hello"

    def test_a_refused_login() -> None:
        events, failed = error(AuthFailed, CodexParser(), load("codex", "json.401.jsonl"))
        assert str(failed) == "…"

    @given(cuts)
    def test_any_chunking_gives_the_same_events(places: list[int]) -> None:
        assert_same_however_cut(CodexParser, load("codex", "json.ok.jsonl"), places)

Recordings lie in ``tests/replay/<provider>/``, trimmed copies of what the real CLI printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st

from llm_gateway.errors import GatewayError
from llm_gateway.events import Event, Reasoning, Reply, Text
from llm_gateway.providers.parsing import Exit, Parser

__all__ = [
    "Exit",
    "answer",
    "as_line",
    "assert_same_however_cut",
    "chunkings",
    "cut_at",
    "cuts",
    "error",
    "joined",
    "lines",
    "load",
    "load_stderr",
    "replay",
]

HERE = Path(__file__).parent
ENDED_WELL, FAILED = Exit(0), Exit(1)
Kind = TypeVar("Kind", bound=GatewayError)

# Places at which to cut; taken modulo the length of whatever is cut.
cuts: st.SearchStrategy[list[int]] = st.lists(st.integers(0, 2**20), max_size=60)


def load(provider: str, name: str) -> bytes:
    """A recording's stdout."""
    return (HERE / provider / name).read_bytes()


def load_stderr(provider: str, name: str) -> str:
    """What was said on stderr beside that recording; empty where nothing was."""
    path = (HERE / provider / name).with_suffix(".stderr")
    return path.read_text() if path.exists() else ""


def lines(*objects: object) -> bytes:
    """Objects as the JSON lines that a CLI prints; ``str`` and ``bytes`` go out as they are."""
    return b"".join(as_line(o) for o in objects)


def as_line(data: object) -> bytes:
    """One object as a line."""
    if isinstance(data, bytes):
        return data + b"\n"
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def replay(
    parser: Parser, data: bytes | Iterable[bytes], exit: Exit = ENDED_WELL
) -> tuple[list[Event], Reply | GatewayError]:
    """Feed output (whole, or in the given chunks) as the gateway does; return events and the end.

    ``exit.stderr`` goes through ``feed_stderr`` first, as a CLI that fails says why before it ends.
    """
    events: list[Event] = []
    try:
        if exit.stderr:
            events += parser.feed_stderr(exit.stderr)
        for chunk in [data] if isinstance(data, bytes) else data:
            events += parser.feed(chunk)
        events += parser.close()
        return events, parser.finish(exit)
    except GatewayError as failed:
        return events, failed


def answer(
    parser: Parser, data: bytes | Iterable[bytes], exit: Exit = ENDED_WELL
) -> tuple[list[Event], Reply]:
    """The same where an answer is expected; neighbouring pieces of text are joined."""
    events, end = replay(parser, data, exit)
    assert isinstance(end, Reply), f"no answer but {type(end).__name__}: {end}"
    return joined(events), end


def error(
    kind: type[Kind], parser: Parser, data: bytes | Iterable[bytes], exit: Exit = FAILED
) -> tuple[list[Event], Kind]:
    """The same where exactly that kind of error is expected."""
    events, end = replay(parser, data, exit)
    assert type(end) is kind, f"not {kind.__name__} but {type(end).__name__}: {end}"
    return joined(events), end


def joined(events: Iterable[Event]) -> list[Event]:
    """Join neighbouring pieces of one message's text, or of thinking: how they were cut is luck."""
    out: list[Event] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Text) and isinstance(last, Text) and last.message == event.message:
            out[-1] = Text(last.text + event.text, event.message)
        elif isinstance(event, Reasoning) and isinstance(last, Reasoning):
            out[-1] = Reasoning(last.text + event.text)
        else:
            out.append(event)
    return out


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The same bytes in chunks; a place beyond the end counts from the start again."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


@st.composite
def chunkings(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Any way of cutting these bytes."""
    return cut_at(data, draw(cuts))


def assert_same_however_cut(
    parser: Callable[[], Parser], data: bytes, places: Iterable[int], exit: Exit = ENDED_WELL
) -> None:
    """Cutting the bytes there changes neither the events nor how the run ended."""
    events, end = replay(parser(), data, exit)
    cut_events, cut_end = replay(parser(), cut_at(data, places), exit)
    assert joined(cut_events) == joined(events)
    assert _comparable(cut_end) == _comparable(end)


def _comparable(end: Reply | GatewayError) -> object:
    if isinstance(end, Reply):
        return end
    return type(end), end.message, end.session_id, end.retry_at
