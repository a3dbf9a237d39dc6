"""What a person calls a model, and what the CLI is told."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder


def test_what_the_cli_is_told(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """An alias's model, the default where somebody asks for it, any other name as it is."""
    names = ["fast", "default", "claude-new-9", "", "--help"]
    env = {"CLAUDE_MODEL_ALIASES": "Fast=haiku"}
    asked = [("gateway-claude", "x", {"model": name} if name else {}) for name in names]
    outcomes = llm.asks(*asked, env=env)
    told = [call.value("--model") for call in claude.calls]
    assert told == ["haiku", "sonnet", "claude-new-9", None]
    assert [o.category for o in outcomes] == [None, None, None, None, "invalid_input"]
    assert recorder.requests[0]["requested_model"] == "haiku"


def test_a_model_of_its_own_goes_on(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """gateway-claude/NAME continues its own session, and -o model still wins."""
    kept = {"format": 1, "providers": {"claude": {"offered": ["opus"]}}}
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "models.json").write_text(json.dumps(kept))
    llm("-m", "gateway-claude/opus", "one").ok()
    llm("-c", "two", "-o", "model", "haiku").ok()
    first, second = claude.calls
    assert (first.value("--model"), second.value("--model")) == ("opus", "haiku")
    assert second.value("--resume") == first.value("--session-id")
