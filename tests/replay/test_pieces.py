"""Pieces of a message are read without their JSON, and mean what their JSON means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import HERE, joined, replay

from llm_gateway.events import Event, Notice
from llm_gateway.providers.claude_output import ClaudeParser
from llm_gateway.providers.grok_output import GrokParser
from llm_gateway.providers.messages import _piece

STREAMS = sorted(
    path
    for provider in ("claude", "grok")
    for path in (HERE / provider).iterdir()
    if b'"content_block_delta"' in path.read_bytes()
)
TAIL = {"session_id": "s-1", "parent_tool_use_id": None, "uuid": "u-1", "api_message_id": "m-1"}
KINDS = {"text": "text", "thinking": "thinking", "input_json": "partial_json"}
WORDS = st.text(st.characters() | st.sampled_from('"\\{},:\n')) | st.just('{"a": "b\\n"}')


def piece(kind: str, words: object, tail: dict[str, Any] = TAIL, **dumps: Any) -> bytes:
    delta = {"type": f"{kind}_delta", KINDS[kind]: words}
    event = {"type": "content_block_delta", "index": 0, "delta": delta}
    data = {"type": "stream_event", "event": event, **tail}
    return json.dumps(data, separators=(",", ":"), **dumps).encode("utf-8", "surrogatepass")


def both_forms(line: bytes) -> tuple[bytes, bytes]:
    """As it comes, and with white space behind it, which only JSON allows."""
    return line + b"\n", line + b" \n"


def both(line: bytes) -> tuple[list[Event], list[Event]]:
    """What a line means in either form."""
    quick, slow = (ClaudeParser().feed(form) for form in both_forms(line))
    return quick, slow


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recordings_mean_the_same(path: Path) -> None:
    """Nearly all their pieces have the expected form."""
    parser = ClaudeParser if path.parent.name == "claude" else GrokParser
    lines = path.read_bytes().splitlines(keepends=True)
    spaced = b"".join(lines).replace(b"\n", b" \n")
    assert joined(replay(parser(), b"".join(lines))[0]) == joined(replay(parser(), spaced)[0])
    told = [line for line in lines if b'"content_block_delta"' in line]
    assert sum(_piece().fullmatch(line.rstrip()) is not None for line in told) >= len(told) * 0.8


@given(st.sampled_from(sorted(KINDS)), WORDS, st.booleans())
def test_any_words_mean_the_same(kind: str, words: str, ascii_only: bool) -> None:
    """Quotes, escapes, halves of surrogate pairs, characters that JSON wants escaped."""
    quick, slow = both(piece(kind, words, ensure_ascii=ascii_only))
    assert quick == slow and not any(isinstance(event, Notice) for event in quick)
    assert bool(quick) == (kind != "input_json")


@given(st.binary(max_size=8) | st.text('"\\u}{,:', max_size=8).map(str.encode), st.integers(0, 500))
def test_no_broken_line_means_something_else(junk: bytes, at: int) -> None:
    """What is no JSON may still be read where only what follows the text is broken."""
    line = piece("text", 'It is "so"\n')
    at %= len(line) + 1
    broken = (line[:at] + junk + line[at:]).replace(b"\n", b"")
    quick, slow = both(broken)
    assert quick == slow or (isinstance(slow[0], Notice) and quick == both(line)[1])


@pytest.mark.parametrize("tail", [{**TAIL, "parent_tool_use_id": "t-1"}, {**TAIL, "more": [1]}])
def test_what_stands_beside_the_piece_counts(tail: dict[str, Any]) -> None:
    """A subagent's words are not the answer; what is unknown is left to JSON."""
    quick, slow = both(piece("text", "words", tail))
    assert quick == slow and bool(quick) == ("more" in tail)


@pytest.mark.parametrize("words", [None, 1, ["x"], {}])
def test_words_that_are_none_are_noise(words: object) -> None:
    """As in any line of an unknown shape."""
    quick, slow = both(piece("text", words))
    assert quick == slow and isinstance(quick[0], Notice)


def test_more_escapes_than_any_piece_has_are_read_too() -> None:
    """By their JSON, which needs no memory for each of them."""
    quick, slow = both(piece("text", '"' * 100_000))
    assert quick == slow != []


def test_grok_waits_no_longer_once_a_piece_comes() -> None:
    """A piece ends a wait that only the log told, as any other event does."""
    told = "2026-01-01T00:00:00.000Z ERROR responses API error status=429\n"
    for line in both_forms(piece("text", "again")):
        parser = GrokParser()
        parser.feed_stderr(told)
        assert parser.waiting
        parser.feed(line)
        assert parser.waiting is None
