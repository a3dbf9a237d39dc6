"""MCP servers: where they come from, which of their tools may run, and where their keys are."""

from __future__ import annotations

import json
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.errors import InvalidInput, PermissionDenied
from llm_gateway.policy.child_env import child_environment
from llm_gateway.providers import provider_named
from llm_gateway.providers.base import Launch
from llm_gateway.providers.mcp import digests, without_secrets
from llm_gateway.records import replace
from llm_gateway.request import Access, Invocation, Options, Request, SessionPlan

READ, EDIT, FULL = Access
EXA = {
    "type": "stdio",
    "command": "npx",
    "args": ["-y", "exa-mcp", "--api-key", "literal-0000-key", "${EXA_HOME:-/opt}"],
    "env": {"EXA_API_KEY": "${EXA_API_KEY}", "OTHER": "sec${EXA_API_KEY}ret", "DEBUG": 1},
}
WEB = {"type": "http", "url": "https://mcp.example/x", "headers": {"Authorization": "Bearer abc"}}
USERS = {"exa": EXA, "web": WEB, "plain": {"command": "plain"}}


class Planner:
    """Plans requests of one provider for a user who has servers configured."""

    def __init__(self, name: str, folder: Path) -> None:
        self.provider = provider_named(name)
        self.home, self.workspace, self.files = folder / "h", folder / "w", folder / "f"
        for made in (self.home, self.workspace, self.files):
            made.mkdir(exist_ok=True)
        self.environ = {
            "HOME": str(self.home),
            "PATH": "/bin",
            "EXA_API_KEY": "exa-key-0000",
            "LLM_GATEWAY_ALLOW_FULL_ACCESS": "1",
        }
        if name == "claude":
            self.write(self.home / ".claude.json", json.dumps({"mcpServers": USERS}))
        elif name == "codex":
            (self.home / ".codex").mkdir(exist_ok=True)
            text = '[mcp_servers.exa]\ncommand = "npx"\nenv_vars = ["EXA_API_KEY"]\n'
            text += '[mcp_servers.other]\ncommand = "other"\n'
            self.write(self.home / ".codex" / "config.toml", text)
        elif name == "gemini":
            (self.home / ".gemini").mkdir(exist_ok=True)
            told = {"exa": {"command": "npx", "env": {"K": "$EXA_API_KEY"}, "trust": True}}
            self.write(self.home / ".gemini" / "settings.json", json.dumps({"mcpServers": told}))

    @staticmethod
    def write(path: Path, text: str) -> Path:
        path.write_text(text)
        return path

    def __call__(self, access: Access = READ, **said: Any) -> Invocation:
        options = Options(cwd=str(self.workspace), **said)
        servers = digests(self.provider.servers(options, self.environ), self.environ)
        request = Request("id", self.provider.name, "hi", options, servers=servers)
        self.provider.check(request, access)
        env, _ = child_environment(self.environ, self.provider.variables, access)
        launch = Launch(
            *("/bin/x", env, self.environ, str(self.workspace), access),
            *(SessionPlan(), lambda: self.files, self.files),
        )
        return self.provider.plan(request, launch)


@pytest.fixture
def claude(tmp_path: Path) -> Planner:
    return Planner("claude", tmp_path)


def after(flag: str, argv: tuple[str, ...]) -> list[str]:
    return [b for a, b in pairwise(argv) if a == flag]


def config(plan: Invocation) -> dict[str, Any]:
    """The servers that claude is given."""
    (path,) = after("--mcp-config", plan.argv)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    servers: dict[str, Any] = json.loads(Path(path).read_text())["mcpServers"]
    return servers


def test_no_server_by_default(claude: Planner) -> None:
    """T-33: none is forced on a prompt, and an empty list means none, at full as well."""
    for access in Access:
        assert after("--mcp-config", claude(access).argv) == []
        assert "--strict-mcp-config" in claude(access, mcp_servers=()).argv
    assert "--strict-mcp-config" not in claude(FULL).argv
    assert "--strict-mcp-config" in claude(FULL, strict_mcp_config=True).argv


def test_named_servers_are_the_users_own(claude: Planner) -> None:
    """In the order in which they were named, each once, and no other beside them."""
    plan = claude(mcp_servers=("web", "exa", "web"))
    assert list(config(plan)) == ["web", "exa"]
    assert "--strict-mcp-config" in plan.argv
    with pytest.raises(InvalidInput, match=r"named 'nope'.* it has exa, plain, web"):
        claude(mcp_servers=("nope",))


def test_the_config_directory_of_claude(claude: Planner) -> None:
    """Where it is set, the user's file is in it."""
    claude.environ["CLAUDE_CONFIG_DIR"] = str(claude.files)
    with pytest.raises(InvalidInput, match="it has none"):
        claude(mcp_servers=("exa",))


def test_keys_are_in_the_environment_alone(claude: Planner) -> None:
    """Neither in the file nor in the arguments; what the definition names is handed on."""
    plan = claude(mcp_servers=("exa", "web"))
    told = config(plan)
    everything = json.dumps(told) + " ".join(plan.argv)
    for secret in ("literal-0000-key", "exa-key-0000", "Bearer abc", "sec${EXA"):
        assert secret not in everything
    exa = told["exa"]
    assert exa["env"]["EXA_API_KEY"] == "${EXA_API_KEY}"
    assert plan.env["EXA_API_KEY"] == "exa-key-0000"
    assert plan.env[exa["env"]["OTHER"][2:-1]] == "secexa-key-0000ret"
    assert plan.env[exa["args"][3][2:-1]] == "literal-0000-key"
    assert exa["args"][:3] == EXA["args"][:3] and exa["args"][4] == "${EXA_HOME:-/opt}"
    assert plan.env[told["web"]["headers"]["Authorization"][2:-1]] == "Bearer abc"
    assert claude().env.get("EXA_API_KEY") is None


def test_what_a_definition_names_gives_no_rights() -> None:
    """The gateway's own variables stay what they are: they say what the agent may do."""
    environ = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1", "LLM_GATEWAY_ACCESS_CAP": "full", "A": "1"}
    server = {"command": "x", "env": {"A": "${A}", "B": "${LLM_GATEWAY_ALLOW_FULL_ACCESS}"}}
    server["args"] = ["${LLM_GATEWAY_ACCESS_CAP}"]
    _, variables = without_secrets({"x": server}, environ)
    assert variables == {"A": "1"}


@pytest.mark.parametrize("access", [READ, EDIT])
def test_below_full_no_tool_runs_that_was_not_named(claude: Planner, access: Access) -> None:
    """Whatever the user's own settings allow: a hook refuses all others."""
    plain = claude(access, mcp_servers=("exa",))
    assert after("--allowedTools", plain.argv) == []
    assert hook(plain) == "^mcp__"
    named = claude(
        access, mcp_servers=("exa", "web"), allowed_tools=("Read", "mcp__exa__find_similar")
    )
    assert after("--allowedTools", named.argv) == ["mcp__exa__find_similar"]
    assert after("--tools", named.argv) == ["Read"]
    assert hook(named) == "^mcp__(?!(?:exa__find_similar)$)"
    assert after("--permission-mode", named.argv) == after("--permission-mode", plain.argv)


def hook(plan: Invocation) -> str:
    (path,) = after("--settings", plan.argv)
    told = json.loads(Path(path).read_text())
    assert told["disableAllHooks"] is False
    (rule,) = told["hooks"]["PreToolUse"]
    assert "exit 2" in rule["hooks"][0]["command"]
    matcher: str = rule["matcher"]
    return matcher


def test_at_full_all_tools_of_named_servers_run(claude: Planner) -> None:
    """Also as root, where claude knows no bypass; the user's other servers are left out if told."""
    plan = claude(FULL, mcp_servers=("exa",))
    assert "mcp__exa" in after("--allowedTools", plan.argv)
    assert after("--settings", plan.argv) == [] and "--strict-mcp-config" not in plan.argv
    assert "--strict-mcp-config" in claude(FULL, mcp_servers=("exa",), strict_mcp_config=True).argv


@pytest.mark.parametrize(
    ("tools", "error"),
    [
        (("mcp__other__tool",), PermissionDenied),
        (("mcp__exa",), PermissionDenied),
        (("mcp__exa__*",), InvalidInput),
        (("mcp__exa__",), InvalidInput),
        (("mcp__exa__a|b",), InvalidInput),
        (("mcp__exa__a(b)",), InvalidInput),
        (("mcp__exa__a,Bash",), InvalidInput),
        (("mcp_", "Bash"), PermissionDenied),
        (("Bash",), PermissionDenied),
    ],
)
@pytest.mark.parametrize("access", [READ, EDIT])
def test_tools_that_cannot_be_named(
    claude: Planner, access: Access, tools: tuple[str, ...], error: type[Exception]
) -> None:
    """No pattern, no whole server, nobody else's tool, and none of claude's own in disguise."""
    with pytest.raises(error):
        claude(access, mcp_servers=("exa",), allowed_tools=tools)


def test_a_tool_without_its_server(claude: Planner) -> None:
    """The user's servers do not start, so that a tool of theirs cannot be had by its name."""
    with pytest.raises(PermissionDenied, match="no server that mcp_servers names"):
        claude(allowed_tools=("mcp__exa__search",))


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_a_file_of_servers(claude: Planner, tmp_path: Path, suffix: str) -> None:
    """JSON or TOML, from anywhere but the workspace."""
    texts = {
        "json": json.dumps({"mcpServers": {"mine": {"command": "mine"}}}),
        "toml": '[mcp_servers.mine]\ncommand = "mine"\n',
    }
    path = claude.write(tmp_path / f"servers.{suffix}", texts[suffix])
    assert config(claude(mcp_servers=(str(path), "exa"))).keys() == {"mine", "exa"}
    path.write_text("{")
    with pytest.raises(InvalidInput, match="cannot be read"):
        claude(mcp_servers=(str(path),))
    path.write_text("{}" if suffix == "json" else "a = 1")
    with pytest.raises(InvalidInput, match="describes no MCP servers"):
        claude(mcp_servers=(str(path),))
    with pytest.raises(InvalidInput, match="No such file"):
        claude(mcp_servers=(str(tmp_path / "none.json"),))


def test_a_file_of_the_workspace_is_refused(claude: Planner, tmp_path: Path) -> None:
    """By its name, through links in both directions, from a folder of the repository."""
    text = json.dumps({"mcpServers": {"evil": {"command": "evil"}}})
    inside = claude.write(claude.workspace / ".mcp.json", text)
    outside = claude.write(tmp_path / "fine.json", text)
    link = claude.workspace / "link.json"
    link.symlink_to(outside)
    back = tmp_path / "back.json"
    back.symlink_to(inside)
    for path in (inside, link, back, f"{tmp_path}/x/../w/.mcp.json", "./.mcp.json"):
        with pytest.raises(PermissionDenied, match="a file of the workspace"):
            claude(mcp_servers=(str(path),))
    (claude.workspace / ".git").mkdir()
    claude.workspace = claude.workspace / "deep"
    claude.workspace.mkdir()
    with pytest.raises(PermissionDenied, match="a file of the workspace"):
        claude(mcp_servers=("../.mcp.json",))
    assert config(claude(mcp_servers=(str(inside),), trust_workspace=True)).keys() == {"evil"}


def test_the_workspaces_servers_have_no_names_here(claude: Planner) -> None:
    """.mcp.json counts only where the workspace is trusted, and never before the user's own."""
    text = json.dumps({"mcpServers": {"exa": {"command": "evil"}, "theirs": {"command": "t"}}})
    claude.write(claude.workspace / ".mcp.json", text)
    with pytest.raises(InvalidInput, match="no MCP server named 'theirs'"):
        claude(mcp_servers=("theirs",))
    told = config(claude(mcp_servers=("theirs", "exa"), trust_workspace=True))
    assert (told["exa"]["command"], told["theirs"]["command"]) == ("npx", "t")


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("-x", {"command": "x"}),
        ("a b", {"command": "x"}),
        ("a__b)$|.*", {"command": "x"}),
        ("ok", {}),
        ("ok", {"command": ""}),
        ("ok", "x"),
        ("ok", {"command": ["x"]}),
    ],
)
def test_bad_definitions(claude: Planner, tmp_path: Path, name: str, definition: object) -> None:
    """A name that is a flag or a pattern, a server without a program."""
    path = claude.write(tmp_path / "s.json", json.dumps({"mcpServers": {name: definition}}))
    with pytest.raises(InvalidInput):
        claude(mcp_servers=(str(path),))


def test_what_changes_a_server_changes_the_request(claude: Planner) -> None:
    """T-04: its definition, and the variables that it names; nothing else of the environment."""
    known = {"x": {"command": "x", "env": {"A": "${A}"}}}
    first = digests(known, {"A": "1"})
    assert digests(known, {"A": "1", "B": "2"}) == first
    assert digests(known, {"A": "2"}) != first
    assert digests({"x": {**known["x"], "args": ["-v"]}}, {"A": "1"}) != first


def test_codex_by_name(tmp_path: Path) -> None:
    """Only named servers are on, and of them only named tools; its own approval is bypassed so."""
    codex = Planner("codex", tmp_path)
    off = settings_of(codex())
    assert off == '{"exa"={"enabled"=false},"other"={"enabled"=false}}'
    plan = codex(mcp_servers=("exa",), allowed_tools=("mcp__exa__search",))
    assert settings_of(plan) == (
        '{"exa"={"enabled"=true,"enabled_tools"=["search"],'
        '"default_tools_approval_mode"="approve"},"other"={"enabled"=false}}'
    )
    assert plan.env["EXA_API_KEY"] == "exa-key-0000"
    assert '"enabled_tools"=[]' in settings_of(codex(EDIT, mcp_servers=("exa",)))
    assert settings_of(codex(FULL)) == ""
    assert settings_of(codex(FULL, mcp_servers=("exa",))) == '{"exa"={"enabled"=true}}'
    assert '"other"={"enabled"=false}' in settings_of(codex(FULL, mcp_servers=()))
    for bad in ({"allowed_tools": ("Read",)}, {"allowed_tools": ()}, {"mcp_servers": ("./x",)}):
        with pytest.raises(InvalidInput):
            codex(**bad)


def settings_of(plan: Invocation) -> str:
    found = [v for v in after("-c", plan.argv) if v.startswith("mcp_servers=")]
    return found[0].removeprefix("mcp_servers=") if found else ""


def test_gemini_by_name(tmp_path: Path) -> None:
    """Only named servers start; the policy lets only named tools run."""
    gemini = Planner("gemini", tmp_path)
    flag = "--allowed-mcp-server-names"
    assert after(flag, gemini().argv) == ["none"] and after(flag, gemini(FULL).argv) == []
    plan = gemini(mcp_servers=("exa",), allowed_tools=("read_file", "mcp_exa_search"))
    assert after(flag, plan.argv) == ["exa"]
    assert plan.env["EXA_API_KEY"] == "exa-key-0000"
    (policy,) = after("--policy", plan.argv)
    text = Path(policy).read_text()
    assert '"mcp_exa_search"\ndecision = "allow"' in text and '"*"\ndecision = "deny"' in text
    assert "mcp_" not in Path(after("--policy", gemini(mcp_servers=("exa",)).argv)[0]).read_text()
    assert after(flag, gemini(FULL, mcp_servers=()).argv) == ["none"]
    with pytest.raises(PermissionDenied):
        gemini(allowed_tools=("mcp_exa_search",))


@pytest.mark.parametrize("name", ["grok", "demo"])
def test_who_cannot_choose_servers_says_so(name: str) -> None:
    """In a sentence; an empty list is nothing to refuse."""
    provider = provider_named(name)
    for said in ({"mcp_servers": ("exa",)}, {"strict_mcp_config": True}):
        with pytest.raises(InvalidInput, match="MCP servers"):
            provider.servers(Options(**said), {})
    assert provider.servers(Options(mcp_servers=()), {}) == {}
    request = Request("id", name, "hi", Options(allowed_tools=("mcp__exa__search",)))
    with pytest.raises((PermissionDenied, InvalidInput)):
        provider.check(replace(request, servers={"exa": "x"}), READ)
