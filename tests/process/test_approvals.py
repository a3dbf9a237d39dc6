"""Approval before the spawn: denials, records, the question on a terminal, agents that ask."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llm_gateway.commands import group
from tests.fakes.claude import answer
from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder

MODEL = "gateway-claude"
POLICY = "LLM_GATEWAY_APPROVAL_POLICY"
SWITCH = "LLM_GATEWAY_ALLOW_FULL_ACCESS"


def log(tmp_path: Path) -> list[dict[str, Any]]:
    """The audit trail."""
    path = tmp_path / "gateway" / "approvals.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def command(*args: str) -> Any:
    """What a command of ours prints as JSON."""
    ran = CliRunner().invoke(group, [*args, "--json"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def test_a_denial(llm: Llm, claude: FakeCli, recorder: Recorder, tmp_path: Path) -> None:
    """Nothing is spawned; the reasons are said and recorded, in both places."""
    said, approved = llm.asks(
        (MODEL, "delete the secret", {"approval_policy": "strict"}),
        (MODEL, "delete the secret", {"approval_policy": "balanced"}),
    )
    assert said.category == "permission_denied"
    assert "the prompt says delete, secret (+3)" in (said.error or "")
    assert approved.answer == "ok" and len(claude.calls) == 1
    denied, ran = recorder.requests
    assert (denied["status"], denied["outcome"], denied["approval_decision"]) == (
        *("failed", "denied"),
        "denied",
    )
    assert (ran["outcome"], ran["approval_decision"]) == ("ran", "approved")
    line, second = log(tmp_path)
    assert [line["status"], second["status"]] == ["denied", "approved"]
    assert list(line)[:10] == [
        *("id", "ts", "status", "policy", "cli", "operation", "score", "reasons"),
        *("promptPreview", "promptSha256"),
    ]
    assert line["promptPreview"] == "[redacted]" and line["requestId"] == denied["id"]
    mode = (tmp_path / "gateway" / "approvals.jsonl").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert [row["id"] for row in command("approvals")] == [second["id"], line["id"]]
    assert command("approvals", "--denied") == [line]
    assert command("approval", "show", line["id"]) == line
    assert command("approval", "show", denied["id"]) == line
    assert command("approval", "show", "@last") == second


def test_what_an_earlier_turn_reached_is_judged_again(
    llm: Llm, claude: FakeCli, tmp_path: Path
) -> None:
    """Directories are a conversation's: whoever goes on with it is told of them."""
    other = tmp_path / "other"
    other.mkdir()
    first = llm("-m", MODEL, "-o", "add_dirs", str(other), "hello")
    said = llm("-c", "-o", "access", "edit", "-o", "approval_policy", "strict", "go on")
    assert first.code == 0 and said.code == 1
    assert f"edits files without asking (+2); may also use {other} (+1)" in said.err
    trusting = llm("-m", MODEL, "-o", "trust_workspace", "1", "hello", env={POLICY: "strict"})
    assert "trusts what the workspace brings (+3)" in trusting.err
    assert len(claude.calls) == 1


def test_approval_grants_nothing_that_was_not_asked(llm: Llm, claude: FakeCli) -> None:
    """T-10: what is approved runs at the level asked for, under the same flags as without."""
    llm.asks(
        (MODEL, "hello", {}),
        (MODEL, "hello", {"approval_strategy": "mcp_managed", "force_refresh": True}),
        (MODEL, "hello", {"approval_policy": "permissive", "force_refresh": True}),
    )
    flags = [[w for w in call.argv if w.count("-") != 4] for call in claude.calls]
    levels = [call.value("--permission-mode") for call in claude.calls]
    assert levels == ["dontAsk"] * 3 and flags[0] == flags[1] == flags[2]
    assert not any("bypass" in word for call in claude.calls for word in call.argv)


def test_no_policy_opens_full_access(llm: Llm, claude: FakeCli) -> None:
    """T-11: the operator's switch is asked for whatever the policy says."""
    said = llm.asks(
        *((MODEL, "hello", {"access": "full", "approval_policy": p}) for p in ("permissive", "ask"))
    )
    assert all(one.category == "permission_denied" and SWITCH in (one.error or "") for one in said)
    assert claude.calls == []


def test_the_recorder_off_keeps_the_audit_trail(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """The preview only where it is wanted, without keys."""
    key = "sk-ant-" + "a" * 40
    env = {"LLM_GATEWAY_LOGS_DB": "none", POLICY: "strict", "APPROVAL_LOG_PROMPTS": "1"}
    said, quiet = llm.asks(
        (MODEL, f"delete  it\nwith {key}", {}), (MODEL, "hello", {"access": "edit"}), env=env
    )
    assert said.category == "permission_denied" and quiet.answer == "ok"
    first, second = log(tmp_path)
    assert first["promptPreview"] == "delete it with sk-ant-[redacted]"
    assert second["fullAuto"] is True and second["score"] == 2


@pytest.mark.parametrize(
    ("env", "options", "why"),
    [
        ({POLICY: "lenient"}, {}, "not one of"),
        ({}, {"approval_policy": "lenient"}, "'strict'"),
        ({}, {"approval_strategy": "legacy", "approval_policy": "strict"}, "contradict"),
    ],
)
def test_bad_values_are_errors(
    llm: Llm, claude: FakeCli, env: dict[str, str], options: dict[str, str], why: str
) -> None:
    """Nobody guesses what was meant, and nothing runs meanwhile."""
    said = [word for name in options for word in ("-o", name, options[name])]
    ran = llm("-m", MODEL, *said, "hello", env=env)
    assert ran.code == 1 and "Traceback" not in ran.err
    assert why in ran.err
    assert claude.calls == []


def test_the_question(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """ask puts the reasons on the terminal and reads y from there; everything else is a no."""
    for word, code in (("y\n", 0), ("\n", 1)):
        screen = llm.pty(
            *("-m", MODEL, "-o", "approval_policy", "ask", "-o", "access", "edit"),
            *("-o", "force_refresh", "1", "delete it"),
        )
        screen.wait_for("Approve? [y/N]")
        assert "edits files without asking (+2); the prompt says delete (+3)" in screen.seen
        screen.type(word)
        assert screen.end() == code
    assert [line["status"] for line in log(tmp_path)] == ["approved", "denied"]
    assert len(claude.calls) == 1


def test_nobody_to_ask(llm: Llm, claude: FakeCli) -> None:
    """In a pipe, and for an agent on a terminal of its own, ask is a denial."""
    ask = ("-m", MODEL, "-o", "approval_policy", "ask", "hello")
    assert "needs somebody at a terminal" in llm(*ask).error
    screen = llm.pty(*ask, env={"LLM_GATEWAY_ACCESS_CAP": "full"})
    assert screen.end() == 1
    assert "Approve?" not in screen.seen
    assert claude.calls == []


def test_ctrl_c_at_the_question(llm: Llm, claude: FakeCli) -> None:
    """Ends the prompt; nothing is spawned."""
    screen = llm.pty("-m", MODEL, "-o", "approval_policy", "ask", "hello")
    screen.wait_for("Approve? [y/N]")
    screen.type("\x03")
    assert screen.end() != 0
    assert claude.calls == []


def test_an_agents_own_asks_are_under_the_same_policy(llm: Llm, claude: FakeCli) -> None:
    """It reaches the child, and cannot be loosened from there; nor can access be widened."""
    llm.asks((MODEL, "hello", {"approval_policy": "strict", "access": "edit"}))
    inside = {n: v for n, v in claude.call.env.items() if n.startswith("LLM_GATEWAY_")}
    assert inside[POLICY] == "strict"
    inside.pop("LLM_GATEWAY_ANCESTORS", None)
    said = llm.asks(
        (MODEL, "delete it", {}),
        (MODEL, "delete it", {"approval_policy": "permissive"}),
        (MODEL, "delete it", {"approval_strategy": "legacy"}),
        (MODEL, "x", {"access": "full", "approval_policy": "permissive"}),
        (MODEL, "x", {"trust_workspace": True}),
        (MODEL, "x", {"mcp_servers": "exa"}),
        env={**inside, SWITCH: "1"},
    )
    assert [one.category for one in said] == ["permission_denied"] * 6
    assert len(claude.calls) == 1


def test_review_integrity_is_told(llm: Llm, claude: FakeCli) -> None:
    """In response_json always, on stderr where approvals are on; it refuses nothing by itself."""
    words = ("-m", MODEL, "Review without tools")
    quiet = llm(*words)
    assert quiet.ok().err == ""
    (row,) = json.loads(llm("logs", "-n", "1", "--json").answer)
    found = row["response_json"]["review_integrity"]
    assert [v["type"] for v in found["violations"]] == ["tool_suppression"]
    loud = llm(*words, "-o", "approval_policy", "balanced")
    assert "review integrity: the prompt says to do without tools" in loud.ok().err


def test_explain_runs_nothing(claude: FakeCli, tmp_path: Path) -> None:
    """Score, rules and each policy's word; nothing is recorded."""
    told = command(
        *("approval", "explain", "delete the token", "-m", "gateway-codex"),
        *("-o", "access", "edit", "-o", "approval_policy", "strict"),
    )
    assert (told["score"], told["policy"], told["decision"]) == (5, "strict", "denied")
    assert told["policies"] == {
        "strict": "denied",
        "balanced": "approved",
        "permissive": "approved",
        "ask": "ask",
    }
    assert [rule["rule"] for rule in told["rules"]] == ["full_auto", "harmful_words"]
    assert claude.calls == [] and log(tmp_path) == []
    bad = CliRunner().invoke(group, ["approval", "explain", "x", "-o", "access", "all"])
    assert bad.exit_code == 2 and "access" in bad.stderr
    word = ["approval", "explain", "x", "-m", "gateway-claude", "-o", "permission_mode", "foo"]
    told = CliRunner().invoke(group, word)
    assert told.exit_code == 65 and "permission_mode 'foo' is not one of" in told.output


def test_a_turn_of_a_conversation_is_judged_again(llm: Llm, claude: FakeCli) -> None:
    """A session that was begun with edit goes on with edit, which counts on every turn."""
    claude.does(answer("ok"))
    llm("-m", MODEL, "-o", "access", "edit", "hello").ok()
    again = llm("-c", "delete it", env={POLICY: "balanced"})
    strict = llm("-c", "delete it", env={POLICY: "strict"})
    assert again.answer == "ok\n"
    assert "edits files without asking (+2)" in strict.error
    assert os.path.exists(claude.path)
