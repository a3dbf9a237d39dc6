"""How a request becomes a call of codex: its level, its settings, its session, its input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway.errors import InvalidInput, PermissionDenied
from llm_gateway.policy.child_env import child_environment
from llm_gateway.providers.base import Launch
from llm_gateway.providers.codex import Codex, strict
from llm_gateway.providers.codex_config import CodexConfig, codex_config, inline, scanned
from llm_gateway.request import (
    Access,
    Attachment,
    Invocation,
    Options,
    Request,
    SessionPlan,
    system_digest,
)

ID = "01a20223-f454-7cf0-a998-9031976cca57"
CONFIG = """\
model = "gpt-6-luna"  # the user's
model_provider = 'own'
project_doc_fallback_filenames = ["TEAM.md"]
developer_instructions = \"\"\"
[mcp_servers.not_one]
\"\"\"

[model_providers.own]
env_key = "OWN_KEY"
env_http_headers = { "X-Team" = "OWN_TEAM" }

[model_providers.other]
env_key = "OTHER_KEY"

[mcp_servers.files]
command = "files"
[mcp_servers.files.env]
A = "b"

[mcp_servers."two words"]
command = "x"

[ projects . "/home/user/project" ]
trust_level = "trusted"
"""


class Planner:
    """Plans requests in a workspace of its own."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.files = folder / "files"
        self.home = folder / "home"
        for made in (self.workspace, self.files, self.home / ".codex"):
            made.mkdir(parents=True)
        self.environ = {"HOME": str(self.home), "PATH": "/bin", "OPENAI_API_KEY": "k", "LANG": "C"}

    def config(self, text: str) -> None:
        (self.home / ".codex" / "config.toml").write_text(text)

    def __call__(
        self,
        prompt: str = "hi",
        access: Access = Access.READ,
        session: SessionPlan | None = None,
        cwd: Path | None = None,
        options: Options | None = None,
        **more: Any,
    ) -> Invocation:
        request = Request("id", "codex", prompt, options or Options(), **more)
        names = Codex().environment_names(self.environ)
        env, _ = child_environment(self.environ, names, access)
        launch = Launch(
            executable="/bin/codex",
            env=env,
            environ=self.environ,
            cwd=str(cwd or self.workspace),
            access=access,
            session=session or SessionPlan(),
            make_files=lambda: self.files,
            state=self.home,
        )
        Codex().check(request, access)
        return Codex().plan(request, launch)


@pytest.fixture
def plan(tmp_path: Path) -> Planner:
    return Planner(tmp_path)


def said(invocation: Invocation) -> dict[str, Any]:
    """The settings of an invocation, read back as TOML."""
    tomllib = pytest.importorskip("tomllib")
    argv = invocation.argv
    pairs = [argv[at + 1] for at, word in enumerate(argv) if word == "-c"]
    return {
        key: tomllib.loads(f"v={value}")["v"] for key, _, value in (p.partition("=") for p in pairs)
    }


def words(invocation: Invocation) -> list[str]:
    """The argv without settings."""
    argv = invocation.argv
    return [w for at, w in enumerate(argv) if w != "-c" and argv[at - 1] != "-c"]


# Sessions.


@pytest.mark.parametrize(
    ("session", "subcommand", "id"),
    [
        (SessionPlan(), [], []),
        (SessionPlan("resume", ID), ["resume"], [ID]),
        (SessionPlan("fork", ID), ["fork"], [ID]),
        (SessionPlan("latest"), ["resume", "--last"], []),
    ],
)
def test_sessions(
    plan: Planner, session: SessionPlan, subcommand: list[str], id: list[str]
) -> None:
    """The sandbox stands before the subcommand, which would forget it otherwise."""
    assert words(plan(session=session)) == [
        *("/bin/codex", "exec", "--sandbox", "read-only", "--ignore-rules"),
        *subcommand,
        *("--json", "--skip-git-repo-check"),
        *id,
        "-",
    ]


@pytest.mark.parametrize("name", ["latest", "my thread", ID.upper(), ID[:-1], f"{ID}\n"])
def test_a_session_that_is_no_uuid_is_refused(plan: Planner, name: str) -> None:
    with pytest.raises(InvalidInput, match="would start a new one without a word"):
        plan(options=Options(session_id=name))


# Levels.


def test_edit_pins_what_the_users_file_may_widen(plan: Planner) -> None:
    invocation = plan(access=Access.EDIT)
    assert "workspace-write" in invocation.argv
    settings = said(invocation)
    assert settings["sandbox_workspace_write.network_access"] is False
    assert settings["sandbox_workspace_write.writable_roots"] == []
    assert settings["sandbox_workspace_write.exclude_slash_tmp"] is True
    assert settings["sandbox_workspace_write.exclude_tmpdir_env_var"] is True


@pytest.mark.parametrize("access", list(Access))
def test_what_each_level_keeps_off(plan: Planner, access: Access) -> None:
    plan.config(CONFIG)
    invocation = plan(access=access)
    settings, kept_off = said(invocation), access is not Access.FULL
    assert ("--ignore-rules" in invocation.argv) == kept_off
    assert (settings.get("web_search") == "disabled") == kept_off
    assert (settings.get("features.plugins") is False) == kept_off
    servers = {"files": {"enabled": False}, "two words": {"enabled": False}}
    assert settings.get("mcp_servers") == (servers if kept_off else None)


def test_the_native_word(plan: Planner) -> None:
    """A narrower word than the access level counts; a wider one is refused."""
    narrow = Options(native={"sandbox": "read-only"})
    assert "read-only" in plan(access=Access.EDIT, options=narrow).argv
    with pytest.raises(PermissionDenied, match="-o access edit"):
        plan(options=Options(native={"sandbox": "workspace-write"}))
    with pytest.raises(InvalidInput, match="is not one of"):
        plan(options=Options(native={"sandbox": "none"}))


def test_add_dirs_are_for_writing(plan: Planner) -> None:
    options = Options(add_dirs=("more", "/else"))
    assert [w for w in plan(options=options).argv if "add-dir" in w] == []
    argv = plan(access=Access.EDIT, options=options, session=SessionPlan("resume", ID)).argv
    dirs = [f"--add-dir={plan.workspace / 'more'}", "--add-dir=/else"]
    assert [w for w in argv if "add-dir" in w] == dirs
    assert argv.index(dirs[1]) < argv.index("resume")


# Trust.


def test_every_directory_above_is_untrusted(plan: Planner) -> None:
    """A user may trust any of them, and each may have a .codex."""
    inner = plan.workspace / "a \"b\" 'c' é"
    inner.mkdir()
    link = plan.workspace / "link"
    link.symlink_to(inner)
    expected = {str(p): {"trust_level": "untrusted"} for p in (inner, *inner.parents)}
    assert said(plan(cwd=link))["projects"] == expected


def test_a_trusted_workspace(plan: Planner) -> None:
    """Its directories are trusted, whatever the user's file says, and what they bring runs."""
    plan.config(CONFIG)
    inner = plan.workspace / "inner"
    inner.mkdir()
    (plan.workspace / ".git").mkdir()
    (plan.workspace / "AGENTS.md").write_text("told by codex itself")
    settings = said(plan(cwd=inner, options=Options(trust_workspace=True)))
    trusted = {"trust_level": "trusted"}
    assert settings["projects"] == {str(inner): trusted, str(plan.workspace): trusted}
    assert not {"mcp_servers", "features.plugins", "developer_instructions"} & settings.keys()
    assert settings["web_search"] == "disabled"


def test_instructions_of_the_workspace(plan: Planner) -> None:
    """Codex leaves them out where a workspace is untrusted; a link out of it stays out."""
    plan.config('project_doc_fallback_filenames = ["TEAM.md"]\n')
    inner = plan.workspace / "inner"
    for folder in (inner / "deep", inner / "team"):
        folder.mkdir(parents=True)
    (plan.workspace / ".git").mkdir()
    (plan.home / "secret").write_text("SECRET")
    (plan.workspace / "AGENTS.md").write_text("top")
    (plan.workspace / "AGENTS.override.md").write_text("instead of top")
    (inner / "AGENTS.md").symlink_to(plan.home / "secret")
    (inner / "deep" / "AGENTS.md").write_text("deep")
    text = said(plan(cwd=inner / "deep", system="Be brief"))["developer_instructions"]
    assert text == (
        "Be brief\n\n# Instructions in AGENTS.override.md\n\ninstead of top\n\n"
        "# Instructions in inner/deep/AGENTS.md\n\ndeep"
    )
    (inner / "team" / "TEAM.md").write_text("team")
    if sys.version_info >= (3, 11):
        assert "team" in said(plan(cwd=inner / "team"))["developer_instructions"]


# Environment.


def test_shell_commands_see_all_but_codex_own_keys(plan: Planner) -> None:
    plan.config(CONFIG)
    more = {"OWN_KEY": "1", "OWN_TEAM": "2", "OTHER_KEY": "3", "ANTHROPIC_API_KEY": "4"}
    plan.environ |= {**more, "CODEX_HOME": str(plan.home / ".codex"), "CODEX_THREAD_ID": ID}
    invocation = plan()
    assert set(invocation.env) == {
        *("HOME", "PATH", "LANG", "OPENAI_API_KEY", "OWN_KEY", "OWN_TEAM", "CODEX_HOME"),
        "LLM_GATEWAY_ACCESS_CAP",
    }
    shown = ["HOME", "LANG", "LLM_GATEWAY_ACCESS_CAP", "PATH"]
    policy = {"inherit": "all", "include_only": shown}
    assert said(invocation)["shell_environment_policy"] == policy


# Input.


def test_prompt_is_exact(plan: Planner) -> None:
    prompt = "  -x help\r\n\"'\\ é ☕ 😀\t\n"
    assert plan(prompt).stdin == prompt.encode()


def test_prompt_limit_is_in_characters(plan: Planner) -> None:
    assert len(plan("é" * 1_048_576).stdin) == 2 * 1_048_576
    with pytest.raises(InvalidInput, match="1,048,577 characters; codex takes at most 1,048,576"):
        plan("x" * 1_048_577)


def test_system_prompt(plan: Planner) -> None:
    """A session keeps the one it began with, so that another one goes before the prompt."""
    system = 'Say "arr"\n\\ \x7f 😀'
    assert said(plan(system=system))["developer_instructions"] == system
    same = SessionPlan("resume", ID, system_before=system_digest(system))
    assert plan(system=system, session=same).stdin == b"hi"
    other = plan(system="Be brief", session=same).stdin.decode()
    assert other.endswith("hi") and "<instructions>\nBe brief\n</instructions>" in other
    with pytest.raises(InvalidInput, match="128 KiB"):
        plan(system="x" * 131_000)


def test_long_instructions_give_way(plan: Planner) -> None:
    (plan.workspace / "AGENTS.md").write_text("x" * 60_000)
    settings = said(plan(system="y" * 100_000))
    assert settings["developer_instructions"] == "y" * 100_000


def test_model_and_effort(plan: Planner) -> None:
    plan.config(CONFIG)
    asked = Options(model="-odd", effort="high")
    invocation = plan(options=asked)
    assert "--model=-odd" in invocation.argv
    assert said(invocation)["model_reasoning_effort"] == "high"
    request = Request("id", "codex", "hi")
    assert Codex().parser(request, plan()).model == "gpt-6-luna"
    assert Codex().parser(Request("id", "codex", "hi", asked), invocation).model == "-odd"
    trusted = Request("id", "codex", "hi", Options(trust_workspace=True))
    assert Codex().parser(trusted, plan()).model is None
    with pytest.raises(InvalidInput, match="effort 'lots' is not one of"):
        plan(options=Options(effort="lots"))


def test_images(plan: Planner) -> None:
    """A path with a comma would be taken for two."""
    odd = plan.workspace / "a,b.png"
    odd.write_bytes(b"odd")
    pictures = (Attachment("image/png", path=str(odd)), Attachment("image/png", content=b"made"))
    invocation = plan(" ", attachments=pictures)
    flags = (word for word in invocation.argv if word.startswith("--image="))
    images = [Path(flag.partition("=")[2]) for flag in flags]
    assert [path.read_bytes() for path in images] == [b"odd", b"made"]
    assert not any("," in path.name for path in images)
    assert invocation.stdin == b"See the attached image."


def test_schema_is_strict(plan: Planner) -> None:
    """OpenAI takes closed objects only, all of whose properties are required."""
    schema = {
        "type": "object",
        "properties": {
            "default": {"type": "string", "default": "x"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/Dog"}},
        },
        "required": ["list"],
        "$defs": {"Dog": {"type": "object", "properties": {"name": {"enum": [{"default": 1}]}}}},
    }
    invocation = plan(schema=schema)
    (flag,) = (word for word in invocation.argv if word.startswith("--output-schema="))
    written = json.loads(Path(flag.partition("=")[2]).read_text())
    closed = {"additionalProperties": False}
    dog = {"type": "object", "properties": {"name": {"enum": [{"default": 1}]}}}
    assert written == {
        "type": "object",
        "properties": {
            "default": {"type": "string"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/Dog"}},
        },
        "required": ["default", "list"],
        "$defs": {"Dog": {**dog, "required": ["name"], **closed}},
        **closed,
    }
    free = {"type": "object", "additionalProperties": {"type": "string"}}
    assert strict(free) == free


# TOML.


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_string_as_toml(text: str) -> None:
    tomllib = pytest.importorskip("tomllib")
    rendered = inline({text: [text, True]})
    assert "\n" not in rendered
    assert tomllib.loads(f"v={rendered}") == {"v": {text: [text, True]}}


def test_the_users_file(plan: Planner) -> None:
    plan.config(CONFIG)
    config = codex_config(plan.environ)
    assert config.model == "gpt-6-luna"
    assert config.servers == ("files", "two words")
    assert config.variables == ("OWN_KEY", "OWN_TEAM")
    plan.config(
        'model_provider = "amazon-bedrock"\n[mcp_servers]\na = { command = "x" }\nb.c = 1\n'
    )
    assert codex_config(plan.environ) == CodexConfig(None, ("a", "b"), ("AWS_*",))
    assert codex_config({"HOME": "/nowhere"}) == CodexConfig()


def test_without_a_parser_tables_and_strings_are_found() -> None:
    """Python 3.10 has none."""
    found = scanned(CONFIG)
    assert (found["model"], found["model_provider"]) == ("gpt-6-luna", "own")
    assert set(found["mcp_servers"]) == {"files", "two words"}
    assert found["model_providers"]["own"]["env_http_headers"] == {"X-Team": "OWN_TEAM"}
    assert found["projects"] == {"/home/user/project": {"trust_level": "trusted"}}
    inner = scanned('mcp_servers.a.command = "x"\n[mcp_servers]\nb = { command = "y" }\n')
    assert set(inner["mcp_servers"]) == {"a", "b"}


@given(st.text())
def test_any_file_is_read(text: str) -> None:
    scanned(text)
