"""Every flag that a provider can pass is in its contract, and nothing else is."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.contract import vanished
from llm_gateway.providers import provider_named
from llm_gateway.providers.base import Launch, Provider
from llm_gateway.request import Access, Attachment, Options, Request, SessionPlan
from tests.unit.test_updates import script

NAMES = ("claude", "codex", "gemini", "grok")
ID = "11111111-2222-4333-8444-555555555555"
FLAG = re.compile(r"--?[A-Za-z][\w-]*")
TOOLS = {
    "claude": ("Read", "Bash(git log:*)"),
    "gemini": ("read_file", "run_shell_command(git log)"),
    "grok": ("read_file", "list_dir"),
}
SESSIONS = (
    SessionPlan(),
    SessionPlan(new_id=ID),
    SessionPlan("resume", ID),
    SessionPlan("fork", ID, new_id=ID, at="msg_1"),
    SessionPlan("latest"),
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with instructions, and the session that gemini and grok look for themselves."""
    home = tmp_path / "user"
    for name in ("CLAUDE.md", "AGENTS.md", "GEMINI.md"):
        (tmp_path / name).write_text("Be brief.")
    chats = home / ".gemini/tmp/p/chats"
    chats.mkdir(parents=True)
    (chats / f"session-1-{ID[:8]}.jsonl").write_text(json.dumps({"sessionId": ID}) + "\n")
    (home / ".gemini/policies").mkdir()
    (home / ".claude.json").write_text('{"mcpServers": {"own": {"command": "/bin/true"}}}')
    (home / ".grok/sessions/x" / ID).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return tmp_path


def requests(provider: Provider) -> Iterator[Request]:
    """Without options; with every option; with each native word."""
    tools = TOOLS.get(provider.name)
    whole = {
        "model": "m",
        "add_dirs": (".",),
        "effort": provider.efforts[0] if provider.efforts else None,
        "max_turns": 3,
        "max_cost_usd": 0.5,
        "allowed_tools": tools,
        "disallowed_tools": tools and tools[:1],
    }
    said = [Options(), Options(trust_workspace=True)]
    for left_out in ((), ("allowed_tools",)):
        known = {k: v for k, v in whole.items() if k in provider.options and k not in left_out}
        said.append(Options(**known))
    for option, words in provider.native_words.items():
        said += [Options(native={option: word}) for word in words]
    if provider.name == "claude":
        said.append(Options(mcp_servers=("own",)))
    image = Attachment("image/png", content=b"x")
    for options in said:
        yield Request("r", provider.name, "p @x", options)
        yield Request("r", provider.name, "p", options, system="s", schema={}, attachments=(image,))


def emitted(provider: Provider, folder: Path) -> set[tuple[tuple[str, ...], str]]:
    """Every flag of every plan, with the help that has to tell it."""
    found: set[tuple[tuple[str, ...], str]] = set()
    asked = list(requests(provider))
    combined = [
        *itertools.product(asked, Access, SESSIONS[:1], ({},)),
        *itertools.product(asked[:2], Access, SESSIONS, ({}, {"IS_SANDBOX": "1"})),
    ]
    for number, (request, access, session, more) in enumerate(combined):
        files = partial(Path, folder, str(number))
        files().mkdir()
        env = {"HOME": str(folder / "user"), "GROK_HOME": str(folder / "user/.grok"), **more}
        cwd = str(folder)
        launch = Launch("/x", env, env, cwd, access, session, files, folder / "state")
        found |= set(_flags(list(provider.plan(request, launch).argv)))
    return found


def _flags(argv: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """``codex exec … resume …``: what stands behind the second word is that one's."""
    at = ("exec",) if argv[1:2] == ["exec"] else ()
    for word in argv[1:]:
        if at == ("exec",) and word in ("resume", "fork"):
            at = ("exec", word)
        if FLAG.fullmatch(name := word.split("=", 1)[0]):
            yield (*at, "--help"), name


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_is_what_can_be_passed(name: str, places: Path) -> None:
    """A flag that a plan has and the contract has not could vanish without anybody's notice."""
    provider: Any = provider_named(name)
    contract = {(args, f) for args, flags in provider.upkeep.flags.items() for f in flags}
    assert emitted(provider, places) == contract
    assert provider.upkeep.hidden <= {flag for _, flag in contract}
    assert all(feature for flags in provider.upkeep.flags.values() for feature in flags.values())


def test_a_vanished_flag_is_found(bin_dir: Path) -> None:
    """Of a CLI whose help has not all of them, or none at all; a part of a word does not count."""
    grok = provider_named("grok")
    (flags,) = grok.upkeep.flags.values()
    rest = [f for f in flags if f not in ("--rules", "--tools")]
    program = str(script(bin_dir / "grok", f"echo '{' '.join(rest)} --tools-x --no--rules'"))
    assert [(v.flag, v.feature) for v in vanished(grok, program)] == [
        ("--tools", flags["--tools"]),
        ("--rules", flags["--rules"]),
    ]
    script(bin_dir / "grok", "echo no such thing >&2; exit 2")
    (only,) = vanished(grok, program)
    assert (only.flag, only.feature) == ("", "it exited with 2")


def test_hidden_flags_are_looked_for_in_the_program(bin_dir: Path) -> None:
    """claude does not tell all of its flags."""
    claude = provider_named("claude")
    told = [f for f in claude.upkeep.flags[("--help",)] if f not in claude.upkeep.hidden]
    program = str(script(bin_dir / "claude", f"echo '{' '.join(told)}' # --max-turns"))
    assert {v.flag for v in vanished(claude, program)} == claude.upkeep.hidden - {"--max-turns"}
