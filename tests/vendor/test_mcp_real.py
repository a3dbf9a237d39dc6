"""MCP servers that a prompt names, through llm and the real CLIs: which of their tools run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from battery import Call, tool_lines
from hostile import Places, make_hostile, mcp_server, widen_user_config
from runner import MockHandle, RunFunction

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(240)]


def _claude(tool: str) -> Call:
    return f"mcp__user__{tool}", {}


def _codex(tool: str) -> Call:
    return "exec", {"input": f"text(await tools.mcp__user__{tool}({{}}))"}


def _gemini(tool: str) -> Call:
    return f"mcp_user_{tool}", {}


CALLS = {"claude": _claude, "codex": _codex, "gemini": _gemini}
NAMES = {"claude": "mcp__user__", "codex": "mcp__user__", "gemini": "mcp_user_"}


@pytest.mark.parametrize(
    ("name", "level"),
    [("claude", "read"), ("claude", "edit"), ("codex", "edit"), ("gemini", "read")],
)
def test_only_named_tools_run(
    run_llm: RunFunction, vendor: Callable[[str], Path], places: Places, name: str, level: str
) -> None:
    """Whatever the user's own rules allow, and whatever the server calls read-only."""
    vendor(name)
    make_hostile(places)
    widen_user_config(places, name)
    calls = [CALLS[name](tool) for tool in ("plain_touch", "hinted_touch")]
    ask = ("-m", f"gateway-{name}", "-o", "access", level, "-o", "mcp_servers", "user")
    say = tool_lines(calls) + "MOCK:SAY=done"
    done = run_llm("prompt", *ask, input=say, cwd=places.workspace)
    assert done.returncode == 0, done
    assert places.markers() == ["user_mcp"]
    named = ("-o", "allowed_tools", f"{NAMES[name]}plain_touch", "-o", "force_refresh", "1")
    done = run_llm("prompt", *ask, *named, input=say, cwd=places.workspace)
    assert done.returncode == 0, done
    assert places.markers() == ["user_mcp", "user_mcp_plain_touch"]


def _grok(tool: str) -> Call:
    return "use_tool", {"tool_name": f"user__{tool}", "tool_input": {}}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *(
            ("claude", "mcp__user__plain_touch"),
            ("claude", "mcp__user__*"),
            ("claude", "mcp__user"),
        ),
        *(("gemini", "mcp_user_plain_touch"), ("gemini", "mcp_user_*")),
        *(("grok", "mcp__user__plain_touch"), ("grok", "MCPTool(user__*)")),
    ],
)
def test_a_tool_that_is_taken_away(
    run_llm: RunFunction, vendor: Callable[[str], Path], places: Places, name: str, rule: str
) -> None:
    """Also at full, where all others run."""
    vendor(name)
    make_hostile(places)
    widen_user_config(places, name)
    call = {**CALLS, "grok": _grok}[name]
    say = tool_lines([call("plain_touch"), call("hinted_touch")]) + "MOCK:SAY=done"
    servers = () if name == "grok" else ("-o", "mcp_servers", "user")
    ask = ("-m", f"gateway-{name}", "-o", "access", "full", *servers, "-o", "disallowed_tools")
    env = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1"}
    done = run_llm("prompt", *ask, rule, input=say, cwd=places.workspace, env=env)
    assert done.returncode == 0, done
    ran = [mark for mark in places.markers() if mark.endswith("_touch")]
    assert ran == (["user_mcp_hinted_touch"] if rule.endswith("plain_touch") else [])


def test_claude_expands_the_keys(
    run_llm: RunFunction,
    vendor: Callable[[str], Path],
    mock: MockHandle,
    places: Places,
    tmp_path: Path,
) -> None:
    """A server gets its key although no file has it; the workspace's own servers do not start."""
    vendor("claude")
    make_hostile(places)
    server = mcp_server(places, "mine")
    spy = f'printf %s "$KEY $OWN" > "{places.marks}/key"; exec "$@"'
    told = {
        "command": "sh",
        "args": ["-c", spy, "sh", server["command"], *server["args"]],
        "env": {"KEY": "sk-literal-0000", "OWN": "${OWN_KEY}"},
    }
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"mine": told}}))
    done = run_llm(
        *("prompt", "-m", "gateway-claude", "-o", "mcp_servers", str(file)),
        input="MOCK:TOOLS",
        cwd=places.workspace,
        env={"OWN_KEY": "sk-own-0000"},
    )
    assert done.returncode == 0, done
    assert places.markers() == ["key", "mine"]
    assert (places.marks / "key").read_text() == "sk-literal-0000 sk-own-0000"
    offered = {t["name"] for body in mock.bodies("messages") for t in body.get("tools", ())}
    assert "mcp__mine__plain_touch" in offered and not any("evil" in name for name in offered)
