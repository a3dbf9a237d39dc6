"""What the CLI gets besides the prompt: environment, access level, tools, directories."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder

HOSTILE = {
    # other vendors, clouds, repositories
    "OPENAI_API_KEY": "sk-openai-0000",
    "GEMINI_API_KEY": "gemini-0000",
    "XAI_API_KEY": "xai-0000",
    "AWS_SECRET_ACCESS_KEY": "aws-0000",
    "AWS_PROFILE": "work",
    "GOOGLE_APPLICATION_CREDENTIALS": "/x.json",
    "AZURE_CLIENT_SECRET": "azure-0000",
    "GITHUB_TOKEN": "gh-0000",
    "NPM_TOKEN": "npm-0000",
    "DATABASE_URL": "postgres://u:p@h/d",
    "MY_PASSWORD": "hunter2",
    # loaders and interpreters
    "LD_PRELOAD": "",
    "LD_LIBRARY_PATH": "/x",
    "DYLD_INSERT_LIBRARIES": "/x",
    "NODE_OPTIONS": "--max-old-space-size=64",
    "PYTHONPATH": "/x",
    "PYTHONHASHSEED": "0",
    "PERL5LIB": "/x",
    "BASH_ENV": "/x",
    "GIT_SSH_COMMAND": "/x",
    "EDITOR": "vi",
    # what claude itself would leave behind
    "CLAUDECODE": "1",
    "CLAUDE_CODE_ENTRYPOINT": "cli",
    "CLAUDE_CODE_SSE_PORT": "1",
    "SSH_AUTH_SOCK": "/agent",
    "LLM_MODEL": "other",
    "OLDPWD": "/x",
}
ALLOWED = {
    "ANTHROPIC_API_KEY": "sk-ant-0000",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "10",
    "MAX_THINKING_TOKENS": "5",
    "DISABLE_TELEMETRY": "1",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "Europe/Berlin",
    "TERM": "xterm",
    "XDG_CONFIG_HOME": "/xdg",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "no_proxy": "localhost",
    "SSL_CERT_FILE": "/cert",
    "NODE_EXTRA_CA_CERTS": "/cert",
    "VIRTUAL_ENV": "/venv",
    "CARGO_HOME": "/cargo",
    "GOPATH": "/go",
    "JAVA_HOME": "/java",
    "NVM_DIR": "/nvm",
    "LLM_GATEWAY_RETRY_WAIT": "5",
}
ALWAYS = {"PATH", "HOME", "TMPDIR", "LLM_USER_PATH", "LLM_GATEWAY_HOME", "LLM_GATEWAY_TEST"}
OURS = {
    *("LLM_GATEWAY_ACCESS_CAP", "LLM_GATEWAY_RUN", "LLM_GATEWAY_ANCESTORS", "LLM_GATEWAY_DEPTH"),
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS",
}
PINNED = {"CLAUDE_CONFIG_DIR"}


def alone(*changes: dict[str, str]) -> dict[str, str | None]:
    """An environment in which only what is named here is set."""
    keep = {*ALWAYS, *PINNED}
    env: dict[str, str | None] = {name: None for name in os.environ if name not in keep}
    env["LANG"] = "C.UTF-8"
    for change in changes:
        env.update(change)
    return env


def ask(llm: Llm, *options: str, env: Any = None, **how: Any) -> Any:
    words = [part for option in options for part in ("-o", *option.split("=", 1))]
    return llm("-m", "gateway-claude", *words, "x", env=env, **how)


def test_a_hostile_environment(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Exactly what the CLI needs reaches it, with its values; the recorder keeps names only."""
    ask(llm, env=alone(HOSTILE, ALLOWED)).ok()
    got = claude.call.env
    assert set(got) == {*ALWAYS, *OURS, *PINNED, *ALLOWED}
    assert {name: got[name] for name in ALLOWED} == ALLOWED
    assert got["LLM_GATEWAY_ACCESS_CAP"] == "read"
    (attempt,) = recorder.attempts
    assert json.loads(attempt["env_names"]) == sorted(got)
    everything = recorder.path.read_bytes()
    for value in ("sk-ant-0000", "sk-openai-0000", "hunter2", "aws-0000"):
        assert value.encode() not in everything


def test_what_some_levels_and_switches_let_through(llm: Llm, claude: FakeCli) -> None:
    """The SSH agent from edit on; AWS while Bedrock is on; names that the user adds."""
    ask(llm, "access=edit", env=alone(HOSTILE)).ok()
    ask(llm, env=alone(HOSTILE, {"CLAUDE_CODE_USE_BEDROCK": "1"})).ok()
    ask(llm, env=alone(HOSTILE, {"CLAUDE_CODE_USE_BEDROCK": "0"})).ok()
    passed = {"LLM_GATEWAY_PASS_ENV": "GITHUB_TOKEN, MY_PASSWORD,NOT_SET"}
    ask(llm, env=alone(HOSTILE, passed)).ok()
    known = {*ALWAYS, *OURS, *PINNED, "LANG"}
    more = [set(call.env) - known for call in claude.calls]
    assert more == [
        {"SSH_AUTH_SOCK"},
        {"AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "CLAUDE_CODE_USE_BEDROCK"},
        {"CLAUDE_CODE_USE_BEDROCK"},
        {"GITHUB_TOKEN", "MY_PASSWORD", "LLM_GATEWAY_PASS_ENV"},
    ]


def test_a_setting_that_does_not_count_is_named(llm: Llm, claude: FakeCli) -> None:
    """The default holds, stderr says so in one line, the answer is the same."""
    ran = ask(llm, env={"LLM_GATEWAY_RETRY_WAIT": "soon"})
    assert (ran.answer, ran.err) == (
        "ok\n",
        "LLM_GATEWAY_RETRY_WAIT=soon: no number of at least 0; 60 is used\n",
    )


# Access.


def test_each_level_is_stated_on_every_turn(llm: Llm, claude: FakeCli) -> None:
    """Flags of read, edit and full; below full neither repository nor MCP servers have a say."""
    switch = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1", "IS_SANDBOX": "1"}
    cases: list[dict[str, Any]] = [
        {},
        {"access": "read"},
        {"access": "edit"},
        {"access": "full"},
        {"access": "read", "trust_workspace": True},
    ]
    outcomes = llm.asks(*(("gateway-claude", "x", case) for case in cases), env=switch)
    assert [o.error for o in outcomes] == [None] * 5
    read, said, edit, full, trusted = claude.calls
    own = ["--setting-sources", "user", "--strict-mcp-config"]
    start = read.argv.index("--setting-sources")
    asked = ["--permission-mode", "dontAsk", "--tools", "Read,Grep,Glob"]
    assert read.argv[start : start + 7] == [*own, *asked]
    assert said.argv[:-1] == read.argv[:-1]
    assert edit.argv[start : start + 7] == [
        *own,
        *("--permission-mode", "acceptEdits"),
        *("--tools", "Read,Grep,Glob,Edit,Write,NotebookEdit"),
    ]
    assert full.value("--permission-mode") == "bypassPermissions" and "--tools" not in full.argv
    assert full.value("--setting-sources") == "user"
    assert "--setting-sources" not in trusted.argv and "--strict-mcp-config" not in trusted.argv
    assert trusted.value("--tools") == "Read,Grep,Glob"
    caps = [call.env["LLM_GATEWAY_ACCESS_CAP"] for call in claude.calls]
    assert caps == ["read", "read", "edit", "full", "read"]
    switches = ["LLM_GATEWAY_ALLOW_FULL_ACCESS" in call.env for call in claude.calls]
    assert switches == [False, False, False, True, False]


@pytest.mark.skipif(os.geteuid() != 0, reason="claude refuses bypassPermissions to root alone")
def test_full_as_root_outside_a_sandbox(llm: Llm, claude: FakeCli) -> None:
    """Rules that come closest, because claude refuses the mode."""
    ask(llm, "access=full", env={"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1"}).ok()
    call = claude.call
    assert call.value("--permission-mode") == "dontAsk"
    assert "Bash" in (call.value("--allowedTools") or "")


@pytest.mark.parametrize("value", [None, "yes"])
def test_full_needs_the_operators_switch(llm: Llm, claude: FakeCli, value: str | None) -> None:
    """Anything but 1 is no."""
    ran = ask(llm, "access=full", env={"LLM_GATEWAY_ALLOW_FULL_ACCESS": value})
    assert ran.error == (
        "access full lets the agent do whatever you may do; whoever runs this machine allows it "
        "with: export LLM_GATEWAY_ALLOW_FULL_ACCESS=1"
    )
    assert claude.calls == []


def test_an_agent_cannot_ask_for_more_than_it_has(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """What a run's environment says caps every llm below it; less than that is allowed."""
    env = {"LLM_GATEWAY_ACCESS_CAP": "read", "LLM_GATEWAY_ALLOW_FULL_ACCESS": "1"}
    outcomes = llm.asks(
        ("gateway-claude", "x", {"access": "full"}),
        ("gateway-claude", "x", {"access": "edit"}),
        ("gateway-claude", "x", {}),
        env=env,
    )
    assert [o.category for o in outcomes] == ["permission_denied", "permission_denied", None]
    assert outcomes[1].error == (
        "The agent that runs this command has access read, so it cannot ask for access edit; "
        "ask for it where that agent was started."
    )
    odd = {"LLM_GATEWAY_ACCESS_CAP": "anything"}
    (refused,) = llm.asks(("gateway-claude", "x", {"access": "edit"}), env=odd)
    assert refused.category == "permission_denied"
    assert len(claude.calls) == 1
    assert [row["access"] for row in recorder.requests][2] == "read"


# Tools, words and options.

REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"permission_mode": "acceptEdits"},
        "permission_mode acceptEdits is wider than access read; ask for it with -o access edit.",
    ),
    (
        {"permission_mode": "bypassPermissions", "access": "edit"},
        "permission_mode bypassPermissions is wider than access edit; ask for it with "
        "-o access full.",
    ),
    (
        {"permission_mode": "yolo"},
        "permission_mode 'yolo' is not one of default, manual, dontAsk, plan, acceptEdits, auto, "
        "bypassPermissions.",
    ),
    (
        {"allowed_tools": ["Read", "Write"]},
        "The tool Write is wider than access read; ask for it with -o access edit.",
    ),
    (
        {"allowed_tools": ["Bash(git log:*)"]},
        "The tool Bash(git log:*) is wider than access read; ask for it with -o access full.",
    ),
    (
        {"allowed_tools": ["Bash"], "access": "edit"},
        "The tool Bash is wider than access edit; ask for it with -o access full.",
    ),
    (
        {"allowed_tools": ["mcp__files__write"]},
        "The tool mcp__files__write is of no server that mcp_servers names; name its server there, "
        "or ask for it with -o access full.",
    ),
    ({"effort": "huge"}, "effort 'huge' is not one of low, medium, high, xhigh, max."),
    ({"add_dirs": ["/no/such/place"]}, "The directory /no/such/place (add_dirs) does not exist."),
    ({"cwd": "/no/such/place"}, "The directory /no/such/place does not exist (any more)."),
    ({"session_id": "../../x"}, "'../../x' is not a session id of a vendor's CLI."),
    ({"session_id": "--help"}, "'--help' is not a session id of a vendor's CLI."),
    ({"session_id": "gw-1234"}, "'gw-1234' is not a session id of a vendor's CLI."),
    ({"session_id": "a\nb"}, "'a\\nb' is not a session id of a vendor's CLI."),
]  # fmt: skip


def test_what_is_wider_than_its_level_is_refused_by_name(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Words, tools and rules of the CLI's own, and values that it does not have."""
    outcomes = llm.asks(*(("gateway-claude", "x", options) for options, _ in REFUSED))
    assert [o.error for o in outcomes] == [message for _, message in REFUSED]
    assert {o.category for o in outcomes} == {"permission_denied", "invalid_input"}
    assert claude.calls == []
    assert {row["status"] for row in recorder.requests} == {"failed"}


def test_an_unknown_tool_is_refused_with_the_known_ones(llm: Llm, claude: FakeCli) -> None:
    """A typing error in a tool's name must not widen or narrow anything silently."""
    outcomes = llm.asks(
        ("gateway-claude", "x", {"allowed_tools": ["Raed"]}),
        ("gateway-claude", "x", {"disallowed_tools": ["Raed"]}),
    )
    for outcome in outcomes:
        assert outcome.error is not None
        assert outcome.error.startswith("Claude Code has no tool named 'Raed'; it has Agent, Bash,")
    assert claude.calls == []


def test_tool_lists(llm: Llm, claude: FakeCli) -> None:
    """Offered, taken away, and by rule; lists are JSON, words with commas, or Python lists."""
    assert ask(llm, "allowed_tools=Read,Grep", "disallowed_tools=Grep").answer == "ok\n"
    assert ask(llm, 'allowed_tools=["Read"]').answer == "ok\n"
    env = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1", "IS_SANDBOX": "1"}
    rules = "Bash(git log:*,git show:*),Read"
    assert ask(llm, "access=full", f"allowed_tools={rules}", env=env).answer == "ok\n"
    both, one, ruled = claude.calls
    assert (both.value("--tools"), both.values("--disallowedTools")) == ("Read", ["Grep"])
    assert one.value("--tools") == "Read"
    assert ruled.value("--tools") == "Bash,Read"
    assert ruled.values("--allowedTools") == [*("Bash(git log:*,git show:*)", "Read(//**)")]


def test_a_narrower_permission_mode_is_passed_on(llm: Llm, claude: FakeCli) -> None:
    """claude's own word replaces ours where it is no wider."""
    llm.asks(
        ("gateway-claude", "x", {"permission_mode": "plan"}),
        ("gateway-claude", "x", {"permission_mode": "plan", "access": "edit"}),
    )
    assert [call.values("--permission-mode") for call in claude.calls] == [["plan"], ["plan"]]
    assert claude.calls[0].value("--tools") == "Read,Grep,Glob"


def test_an_option_that_the_provider_does_not_have_is_refused_by_name(
    llm: Llm, claude: FakeCli
) -> None:
    """The same words everywhere, but only where the CLI has the thing."""
    assert "effort" in llm("-m", "gateway-demo", "-o", "effort", "high", "x").err
    ran = llm("-m", "gateway-claude", "-o", "no_such", "1", "x")
    assert ran.code == 1 and "no_such" in ran.err and "Traceback" not in ran.err
    assert claude.calls == []


def test_a_value_that_cannot_be_meant_is_explained(llm: Llm, claude: FakeCli) -> None:
    """llm prints what the option wants; `test_options` has all of them."""
    ran = ask(llm, 'add_dirs=["a"')
    assert ran.code == 1 and "Traceback" not in ran.err
    assert "must be a JSON list of strings, or words with commas between" in ran.err
    assert claude.calls == []


def test_directories_are_those_of_the_person(llm: Llm, claude: FakeCli) -> None:
    """~ is the home, relative names count from the workspace, a link is followed."""
    (llm.folder / "user" / "project").mkdir()
    (llm.work / "sub").mkdir()
    (llm.work / "link").symlink_to(llm.work / "sub")
    llm.asks(
        ("gateway-claude", "x", {"cwd": "~/project"}),
        ("gateway-claude", "x", {"cwd": "sub"}),
        ("gateway-claude", "x", {"add_dirs": ["sub", "link"]}),
    )
    home, sub, added = claude.calls
    assert (home.cwd, sub.cwd) == (str(llm.folder / "user" / "project"), str(llm.work / "sub"))
    assert added.values("--add-dir") == ["sub", "link"]


def test_a_home_relative_extra_directory_reaches_the_cli(llm: Llm, claude: FakeCli) -> None:
    """It was checked as ~/project, so it has to be passed on as what that means."""
    (llm.folder / "user" / "project").mkdir()
    llm.asks(("gateway-claude", "x", {"add_dirs": ["~/project"]}))
    assert claude.call.values("--add-dir") == [str(llm.folder / "user" / "project")]


def test_limits_and_effort_are_flags(llm: Llm, claude: FakeCli) -> None:
    """Numbers in a form that the CLI reads."""
    options = {"effort": "high", "max_turns": 4, "max_cost_usd": 0.00001, "model": "sonnet"}
    llm.asks(("gateway-claude", "x", options))
    call = claude.call
    assert call.value("--effort") == "high" and call.value("--max-turns") == "4"
    assert call.value("--max-budget-usd") == "0.000010" and call.value("--model") == "sonnet"


def test_the_child_has_nothing_else_of_ours(llm: Llm, claude: FakeCli) -> None:
    """Three pipes, a session of its own, no other descriptor."""
    claude.does({"fds": True}, {"line": {"type": "system", "subtype": "init",
                "session_id": "$SESSION"}}, {"line": {"type": "result", "result": "ok",
                "session_id": "$SESSION"}})  # fmt: skip
    code = """
import os, llm
extra = open("/etc/hostname")
os.set_inheritable(extra.fileno(), True)
os.dup2(extra.fileno(), 77)
print(llm.get_model("gateway-claude").prompt("x").text())
"""
    assert llm.python(code).answer == "ok\n"
    call = claude.call
    assert call.seen == {"fds": [0, 1, 2], "leads": True}
