"""One conversation, several vendors: each CLI is told what was said without it."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.cli import FakeCli
from tests.harness import Llm

THREAD = "0198f3a2-0000-7000-8000-000000000001"
USAGE = {"input_tokens": 10, "cached_input_tokens": 0, "output_tokens": 2}


def codex_says(text: str, thread: object = THREAD) -> list[object]:
    return [
        {"line": {"type": "thread.started", "thread_id": thread}},
        {"line": {"type": "turn.started"}},
        {"line": {"type": "item.completed", "item": {"type": "agent_message", "text": text}}},
        {"line": {"type": "turn.completed", "usage": USAGE}},
    ]


def gemini_says(text: str) -> list[object]:
    stats = {"input_tokens": 10, "output_tokens": 2, "cached": 0, "total_tokens": 12}
    return [
        {"line": {"type": "init", "session_id": "$SESSION", "model": "gemini-3-pro"}},
        {"line": {"type": "message", "role": "assistant", "content": text, "delta": True}},
        {"line": {"type": "result", "status": "success", "stats": stats}},
    ]


def test_from_codex_to_gemini_and_back(llm: Llm, bin_dir: Path) -> None:
    """Nothing of the conversation is lost on the way, and nothing is told twice."""
    codex, gemini = FakeCli(bin_dir, "codex"), FakeCli(bin_dir, "gemini")
    codex.does(*codex_says("from codex"))
    gemini.does(*gemini_says("from gemini"))
    assert llm("-m", "gateway-codex", "one").answer == "from codex\n"
    assert llm("-c", "-m", "gateway-gemini", "two").answer == "from gemini\n"
    assert llm("-c", "-m", "gateway-codex", "three").answer == "from codex\n"
    first, third = (call.stdin for call in codex.calls)
    (second,) = (call.stdin for call in gemini.calls)
    assert first == "one"
    assert second is not None and third is not None
    assert "<user>\none\n</user>\n\n<assistant>\nfrom codex\n</assistant>" in second
    assert second.endswith("The user now says:\n\ntwo")
    assert "<user>\ntwo\n</user>\n\n<assistant>\nfrom gemini\n</assistant>" in third
    assert third.endswith("The user now says:\n\nthree") and "from codex" not in third
    assert "resume" in codex.calls[1].argv and THREAD in codex.calls[1].argv
