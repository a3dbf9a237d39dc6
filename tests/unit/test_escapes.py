"""Attempts to get more than was asked: flags in values, rules that lead outside, servers, agents.

Each was tried against the code as it was, and each that went through is mended.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.checks import check
from llm_gateway.errors import GatewayError, InvalidInput, PermissionDenied
from llm_gateway.options import options_class, options_of
from llm_gateway.policy.access import refuse_unheld, resolve_access
from llm_gateway.policy.approval import asked_for
from llm_gateway.policy.child_env import ACCESS_CAP, FULL_ACCESS_SWITCH, child_environment
from llm_gateway.providers import all_providers, provider_named
from llm_gateway.providers.base import Launch, Provider
from llm_gateway.records import replace
from llm_gateway.request import Access, Options, Request, SessionPlan

READ, EDIT, FULL = Access
PROVIDERS = list(all_providers().values())
# What opens a CLI, in its own words.
OPEN = (
    *("--yolo", "-y", "--dangerously-skip-permissions", "--always-approve"),
    *("--permission-mode=bypassPermissions", "--approval-mode=yolo", "danger-full-access"),
    *("--dangerously-bypass-approvals-and-sandbox", "bypassPermissions", "yolo"),
    *("--mcp-config", "--settings", "--setting-sources"),
)
WORDS = ("model", "effort", "add_dirs", "allowed_tools", "disallowed_tools", "sandbox")
WORDS += ("permission_mode", "approval_mode", "access", "session_id")


def options(provider: Provider, said: dict[str, Any], workspace: Path) -> Options:
    made = options_of(options_class(provider)(**said), provider)
    return replace(made, cwd=made.cwd or str(workspace))


def argv(provider: Provider, o: Options, access: Access, folder: Path) -> tuple[str, ...]:
    """The command line of a prompt that passes every check."""
    request = Request("id", provider.name, "hi", o)
    os.environ[f"LLM_GATEWAY_{provider.name.upper()}_CLI"] = "/bin/true"
    try:
        check(request, provider, access)
    finally:
        del os.environ[f"LLM_GATEWAY_{provider.name.upper()}_CLI"]
    env = {"HOME": str(folder), "PATH": "/bin"}
    launch = Launch(
        *("/bin/true", env, env, o.cwd or "", access, SessionPlan("new", new_id="id")),
        *(lambda: folder, folder),
    )
    return provider.plan(request, launch).argv


@pytest.mark.parametrize("access", [READ, EDIT])
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.name)
def test_no_value_becomes_a_flag(provider: Provider, access: Access, tmp_path: Path) -> None:
    """T-09: below full no option's value puts a word on the command line that opens the CLI.

    Directories of these names are there, as a repository may have them.
    """
    workspace, tried = tmp_path / "w", 0
    workspace.mkdir()
    for word in OPEN:
        (workspace / word.replace("/", "_")).mkdir()
    for name in WORDS:
        for value in OPEN if name in provider.options else ():
            try:
                plan = argv(provider, options(provider, {name: value}, workspace), access, tmp_path)
            except (GatewayError, ValueError):
                tried += 1
                continue
            if name != "session_id":  # that is checked where a session is looked up
                assert not (value.startswith("-") and value in plan), (name, value)
                assert value not in plan or name in ("model", "add_dirs"), (name, value)
    assert tried > len(OPEN)


@pytest.mark.parametrize(
    "rule",
    [
        *("Edit(//**)", "Edit(//etc/**)", "Edit(~/**)", "Edit(../**)", "Edit(a/../../**)"),
        *("Edit(~/.ssh/**)", "Edit({a,../b})", "Edit(//tmp)", "Edit(//**/x)"),
    ],
)
def test_a_rule_for_files_stays_in_the_workspace(rule: str, tmp_path: Path) -> None:
    """What narrows a tool of the level must not widen where it works."""
    workspace = tmp_path / "w"
    workspace.mkdir()
    o = Options(cwd=str(workspace), allowed_tools=(rule,))
    with pytest.raises(PermissionDenied, match="leads outside the workspace"):
        argv(provider_named("claude"), o, EDIT, tmp_path)


def test_rules_that_stay(tmp_path: Path) -> None:
    """Relative ones, and absolute ones of the workspace or of add_dirs."""
    more = tmp_path / "more"
    more.mkdir()
    workspace = tmp_path / "w"
    workspace.mkdir()
    rules = ("Edit(src/**)", f"Edit(/{workspace}/**)", f"Edit(/{more}/a*)", "Edit({a,b}/*.py)")
    o = Options(cwd=str(workspace), add_dirs=(str(more),), allowed_tools=rules)
    told = argv(provider_named("claude"), o, EDIT, tmp_path)
    assert all(rule in told for rule in rules)
    assert told[told.index("--permission-mode") + 1] == "dontAsk"  # else no rule is asked


@pytest.mark.parametrize(
    "rule",
    [
        *("Read(x) Bash(*)", "Read(x),Bash(*)", "Read(x) mcp__user__tool()", "Edit(a)Write(//**)"),
        *("Read(x)\nBash(*)", "Read) Bash(*", "Read(", "Read(x", "Read(x) ", "(x)"),
    ],
)
@pytest.mark.parametrize("name", ["allowed_tools", "disallowed_tools"])
def test_a_word_is_one_rule(rule: str, name: str, tmp_path: Path) -> None:
    """claude would take several rules from one word."""
    o = Options(**{"cwd": str(tmp_path), name: (rule,)})  # type: ignore[arg-type]
    with pytest.raises((InvalidInput, PermissionDenied)):
        argv(provider_named("claude"), o, EDIT, tmp_path)


IGNORED = [
    ("claude", "Write(src/**)", "Edit(src/**) holds for all of its tools that write"),
    ("claude", "NotebookEdit(a)", "Edit(a) holds for all of its tools that write"),
    ("claude", "Grep(src/**)", "Read(src/**) holds for all of its tools that read"),
    ("claude", "Glob(src/**)", "Read(src/**) holds for all of its tools that read"),
    ("claude", "Edit(/etc/**)", "Write Edit(//etc/**) for the one at the top of the machine"),
    ("claude", "WebFetch(example.com)", "as in WebFetch(domain:example.com)"),
    ("claude", "Monitor(touch:*)", "name Monitor alone"),
    ("claude", "Edit( )", "name Edit alone"),
    ("claude", "mcp_exa_search", "as mcp__SERVER__TOOL"),
    ("claude", "mcp__exa__search(x)", "as mcp__SERVER__TOOL"),
    ("gemini", "write_file(src/**)", "has rules with (…) for run_shell_command only"),
    ("gemini", "run_shell_command(git", "is not one rule for one tool"),
    ("gemini", "run_shell_command()", "is not one rule for one tool"),
    ("gemini", "mcp__exa__search", "as mcp_SERVER_TOOL"),
    ("gemini", "mcp_exa", "mcp_exa_* takes all tools of a server away"),
    ("grok", "write(src/**)", "its rule for that is Edit(src/**)"),
    ("grok", "search_replace(src/**)", "its rule for that is Edit(src/**)"),
    ("grok", "read_file(src/**)", "its rule for that is Read(src/**)"),
    ("grok", "Grep(src/**)", "its rule for that is Read(src/**)"),
    ("grok", "run_terminal_command(rm *)", "its rule for that is Bash(rm *)"),
    ("grok", "todo_write(x)", "name todo_write alone"),
    ("grok", "MCPTool(search)", "as MCPTool(SERVER__TOOL)"),
    ("grok", "MCPTool(mcp__exa__search)", "as MCPTool(SERVER__TOOL)"),
    ("grok", "WebFetch(example.com)", "as in WebFetch(domain:example.com)"),
    ("grok", "Edit(folder)", "what is in the folder is Edit(folder/**)"),
    ("grok", "Read(later/)", "what is in the folder is Read(later/**)"),
    ("grok", "mcp_exa_search", "as mcp__SERVER__TOOL"),
]


@pytest.mark.parametrize(("name", "rule", "told"), IGNORED, ids=lambda word: word)
def test_a_restriction_that_the_cli_would_ignore(
    name: str, rule: str, told: str, tmp_path: Path
) -> None:
    """Refused, with what holds instead; `tests/vendor/test_rules_real.py` sees that hold."""
    (tmp_path / "folder").mkdir()
    o = Options(cwd=str(tmp_path), disallowed_tools=(rule,))
    request = Request("id", name, "x", o)
    with pytest.raises(InvalidInput, match=re.escape(told)):
        provider_named(name).check(request, FULL)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *(("claude", r) for r in ("Edit(/src/**)", "Edit(//etc/**)", "Read(a)", "Bash(rm:*)")),
        *(("claude", r) for r in ("Agent(x)", "mcp__exa", "mcp__exa__*", "WebFetch(domain:a.b)")),
        *(("gemini", r) for r in ("run_shell_command(git log:*)", "mcp_exa_*", "mcp_exa_search")),
        *(("grok", r) for r in ("Edit(src/**)", "Bash(rm *)", "MCPTool(exa__*)", "MCPTool(*)")),
        *(("grok", r) for r in ("Read(a.txt)", "mcp__exa__search", "WebFetch(domain:a.b)")),
    ],
)
def test_a_restriction_that_holds_is_passed_on(name: str, rule: str, tmp_path: Path) -> None:
    """In the words in which it was said, or in the policy that is gemini's."""
    o = Options(cwd=str(tmp_path), disallowed_tools=(rule,))
    provider_named(name).check(Request("id", name, "x", o), FULL)
    if name != "gemini":
        assert rule in argv(provider_named(name), o, FULL, tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("claude", Options(allowed_tools=("Read(src/**)",)), "disallowed_tools 'Read(PLACE)'"),
        (
            "claude",
            Options(allowed_tools=("Edit(a)",), native={"permission_mode": "acceptEdits"}),
            "With permission_mode acceptEdits claude ignores the rule Edit(a)",
        ),
        ("grok", Options(allowed_tools=("write(src/**)",)), "narrow it with -o disallowed_tools"),
    ],
)
def test_a_choice_that_would_not_narrow(
    name: str, options: Options, told: str, tmp_path: Path
) -> None:
    """What reads as "only there" and would be everywhere is refused."""
    with pytest.raises(InvalidInput, match=re.escape(told)):
        argv(provider_named(name), replace(options, cwd=str(tmp_path)), EDIT, tmp_path)


def test_rules_hold_at_full(tmp_path: Path) -> None:
    """There claude asks nothing, unless it is told to; what was named whole goes on as it was."""
    allowed = ("Read", "Write", "Grep", "Bash(git log:*)", "mcp__exa__search")
    told = argv(
        provider_named("claude"), Options(cwd=str(tmp_path), allowed_tools=allowed), FULL, tmp_path
    )
    assert told[told.index("--permission-mode") + 1] == "dontAsk"
    rules = [told[at + 1] for at, word in enumerate(told) if word == "--allowedTools"]
    assert rules == ["Bash(git log:*)", "Read(//**)", "Write", "mcp__exa__search"]
    ruled = Options(cwd=str(tmp_path), allowed_tools=("Write", "Edit(src/**)"))
    told = argv(provider_named("claude"), ruled, FULL, tmp_path)
    assert "Write" not in told and "Write,Edit" in told


@pytest.mark.parametrize("cap", ["read", "edit", "nonsense", ""])
def test_an_agent_below_full_names_no_servers(cap: str) -> None:
    """Their tools would be held by no level; nor may it let the workspace's own code run."""
    inside = {ACCESS_CAP: cap, FULL_ACCESS_SWITCH: "1"}
    for said in (Options(mcp_servers=("exa",)), Options(trust_workspace=True)):
        with pytest.raises(PermissionDenied, match="cannot say"):
            refuse_unheld(said, inside)
    refuse_unheld(Options(mcp_servers=()), inside)
    refuse_unheld(Options(mcp_servers=("exa",), trust_workspace=True), {ACCESS_CAP: "full"})
    refuse_unheld(Options(mcp_servers=("exa",), trust_workspace=True), {})


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.name)
def test_no_variable_hands_the_switch_on(provider: Provider) -> None:
    """Below full the operator's switch does not reach the child, by whatever list it is named."""
    environ = {FULL_ACCESS_SWITCH: "1", ACCESS_CAP: "full"}
    for access in (READ, EDIT):
        env, _ = child_environment(
            environ, provider.variables, access, (FULL_ACCESS_SWITCH, ACCESS_CAP)
        )
        assert FULL_ACCESS_SWITCH not in env and env[ACCESS_CAP] == access.value


@pytest.mark.parametrize("inherited", [None, READ, EDIT, FULL])
def test_a_session_hands_on_no_more_than_the_agent_has(inherited: Access | None) -> None:
    """Continuing somebody's session of full gives edit at most, and read to an agent at read."""
    assert resolve_access(None, inherited, {FULL_ACCESS_SWITCH: "1"}) is not FULL
    assert resolve_access(None, inherited, {ACCESS_CAP: "read"}) is READ


def test_words_that_the_optimiser_would_bring_together() -> None:
    """What is sent is judged as well as what was written."""
    request = Request("id", "claude", "delete it", asked="de lete it")
    assert asked_for(request, READ, ()).words == ["delete"]


@pytest.mark.parametrize("place", ["/proc/self/cwd/.mcp.json", "/dev/stdin", "/dev/zero"])
def test_places_that_are_no_files(place: str, tmp_path: Path, monkeypatch: Any) -> None:
    """The workspace by another name, and what would never end."""
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"evil": {"command": "evil"}}}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises((PermissionDenied, InvalidInput)):
        provider_named("claude").servers(Options(cwd=str(tmp_path), mcp_servers=(place,)), {})


@pytest.mark.parametrize("entry", ["", ".", "bin", "./node_modules/.bin"])
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.name)
def test_the_path_does_not_lead_into_the_workspace(
    provider: Provider, entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative entry of PATH would have a repository bring the CLI, or what that runs."""
    program = tmp_path / entry / provider.command
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    environ = {"PATH": f"{entry}:/nowhere:{entry}", "HOME": str(tmp_path / "home")}
    found = provider.find_executable(environ, None)
    assert found is None or not Path(found).is_relative_to(tmp_path)
    for access, path in ((READ, "/nowhere"), (EDIT, "/nowhere"), (FULL, environ["PATH"])):
        assert child_environment(environ, provider.variables, access)[0]["PATH"] == path
    assert child_environment({"PATH": entry}, provider.variables, READ)[0]["PATH"] == os.defpath


def test_a_mode_in_which_a_model_decides_is_full(tmp_path: Path) -> None:
    """claude's ``auto`` may say yes to a file outside the workspace."""
    o = Options(cwd=str(tmp_path), native={"permission_mode": "auto"})
    with pytest.raises(PermissionDenied, match="-o access full"):
        argv(provider_named("claude"), o, EDIT, tmp_path)
