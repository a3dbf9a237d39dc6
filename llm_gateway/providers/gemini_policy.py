"""What holds gemini at its access level: a policy, and what becomes of the workspace's settings.

Approval modes hold nothing without a terminal: the model calls ``enter_plan_mode`` and
``exit_plan_mode`` and is in yolo mode. A policy that denies every tool but the listed ones does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import PermissionDenied
from ..request import Access
from .base import Level, tool_base

__all__ = [
    "ESCAPED",
    "LEVELS",
    "PROTECTED",
    "SHELL",
    "TOOL_NAMES",
    "own_folders",
    "policy",
    "refuse_env_file",
    "trust",
    "user_policies",
]

SHELL = "run_shell_command"
READ_TOOLS = ("read_file", "list_directory", "glob", "grep_search", "read_many_files")
WRITE_TOOLS = ("write_file", "replace")

LEVELS = {
    Access.READ: Level(
        ("--approval-mode", "default"),
        "reads and searches the workspace; no shell, no web, no MCP tools but named ones; nothing "
        "outside it",
        READ_TOOLS,
    ),
    Access.EDIT: Level(
        ("--approval-mode", "default"),
        "also writes files in the workspace, but for .git and .gemini; no shell, no web",
        (*READ_TOOLS, *WRITE_TOOLS),
    ),
    Access.FULL: Level(
        ("--approval-mode", "yolo"),
        "everything the user may do; its file tools stay in the workspace, its shell does not",
    ),
}
TOOL_NAMES = frozenset(
    {
        *(*READ_TOOLS, *WRITE_TOOLS, SHELL),
        *("activate_skill", "ask_user", "complete_task", "enter_plan_mode", "exit_plan_mode"),
        *("get_internal_docs", "google_web_search", "invoke_agent", "list_mcp_resources"),
        *("read_mcp_resource", "save_memory", "tracker_add_dependency", "tracker_create_task"),
        *("tracker_get_task", "tracker_list_tasks", "tracker_update_task", "tracker_visualize"),
        *("update_topic", "web_fetch", "write_todos"),
    }
)
# Arguments are matched as JSON with NUL between the top-level members. gemini takes a pattern
# with a quantified group that holds a quantifier for unsafe and drops the rule.
PROTECTED = (
    r'\x00"file_path":(?:"|"[^\x00]*[/\\])\.'
    r'(?:[gG][iI][tT]|[gG][eE][mM][iI][nN][iI])(?:[/\\]|"\x00)'
)
# gemini decodes a path before it writes there, and lists a folder before it decodes its path, so
# that with an escape neither what is above nor its own look at links is about the same file.
ESCAPED = r'\x00"(?:file|dir)_path":"[^\x00]*%[0-9a-fA-F]{2}'
LISTING_TOOLS = ("list_directory",)
# What a workspace's .env may not set even at full: it steers gemini itself, or any program.
STEERING = (
    *("GEMINI_*", "GOOGLE_*", "CODE_ASSIST_*", "CLOUD_SHELL*", "LLM_GATEWAY_*", "NODE_*"),
    *("LD_*", "DYLD_*", "*_PROXY", "*_proxy", "BASH_ENV", "ENV", "SSL_*", "OTEL_*"),
)
ASSIGNED = re.compile(r"([A-Za-z0-9_.-]+)[\s\ufeff]*([=:]?)")


def policy(
    level: Level, allowed: Sequence[str] | None, disallowed: Sequence[str] | None
) -> str | None:
    """Return the policy file of a run; None where nothing is to be held."""
    offered = allowed if allowed is not None else level.tools or None
    rules = [_rule(tool, "deny", 999) for tool in disallowed or ()]
    for pattern, tools in ((PROTECTED, WRITE_TOOLS), (ESCAPED, (*WRITE_TOOLS, *LISTING_TOOLS))):
        told = f"argsPattern = '{pattern}'"
        rules += [_rule(tool, "deny", 998, told) for tool in tools if tool in level.tools]
    if offered is not None:
        rules += [_rule(tool, "allow", 997) for tool in offered]
        rules += [_rule("*", "deny", 996)]
    return "\n\n".join(rules) + "\n" if rules else None


def _rule(tool: str, decision: str, priority: int, *more: str) -> str:
    name, prefix = tool_base(tool), tool[len(tool_base(tool)) :].strip()
    lines = ["[[rule]]", f"toolName = {_quoted(name)}", *more]
    if prefix:
        lines.append(f"commandPrefix = {_quoted(_prefix(prefix))}")
    if name == SHELL and decision == "allow":
        lines.append("allowRedirection = true")
    return "\n".join([*lines, f'decision = "{decision}"', f"priority = {priority}"])


def _prefix(rule: str) -> str:
    """``(git log:*)`` → ``git log``."""
    return rule[1:-1].removesuffix(":*").removesuffix("*").strip()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def user_policies(home: Path) -> list[Path]:
    """Return where the user keeps rules: gemini forgets them as soon as it is given others."""
    folder = home / ".gemini" / "policies"
    return [folder] if folder.is_dir() else []


def trust(
    folder: Path, cwd: str, own: Sequence[Path], env: Mapping[str, str], access: Access
) -> dict[str, str]:
    """Return the variables with which gemini runs in a workspace whose settings it leaves out.

    ``--skip-trust`` lets it start, but counts only after the settings were read; what is said here
    counts before, also against a folder that the user trusts and with folder trust switched off.
    """
    trusted = folder / "trusted_folders.json"
    trusted.write_text("{}")
    return {
        **dict.fromkeys(_blanked(cwd, own, access) - env.keys(), ""),
        "GEMINI_CLI_TRUST_WORKSPACE": "false",
        "GEMINI_CLI_TRUSTED_FOLDERS_PATH": str(trusted),
    }


def own_folders(environ: Mapping[str, str]) -> list[Path]:
    """Return the folders whose ``.gemini`` is the user's own, the one that gemini uses first."""
    named = (environ.get("GEMINI_CLI_HOME"), environ.get("HOME", os.path.expanduser("~")))
    return [Path(os.path.realpath(name)) for name in named if name]


def refuse_env_file(cwd: str, own: Sequence[Path]) -> None:
    """Refuse a workspace whose ``.gemini/.env`` gemini would take over at every level."""
    for folder in _upwards(cwd):
        path = folder / ".gemini" / ".env"
        if folder not in own and os.path.exists(path):
            raise PermissionDenied(
                f"Gemini CLI obeys {path} at every access level, so that it can redirect your key "
                "and run code; remove it, or trust the workspace with -o trust_workspace 1."
            )


def _upwards(cwd: str) -> Iterator[Path]:
    here = Path(os.path.realpath(cwd))
    yield from (here, *here.parents)


def _blanked(cwd: str, own: Sequence[Path], access: Access) -> set[str]:
    """Return what the workspace's ``.env`` sets: gemini leaves a variable that has a value alone.

    At ``full`` the agent's shell wants the project's variables, so only dangerous ones count.
    """
    found = next((f for f in _upwards(cwd) if os.path.exists(f / ".env")), None)
    if found is None or found in own:
        return set()
    names = _names(found / ".env")
    if access is Access.FULL:
        return {name for name in names if any(fnmatchcase(name, p) for p in STEERING)}
    return names


def _names(path: Path) -> set[str]:
    """Return every word of a file that a ``=`` or ``:`` follows: what dotenv finds, and more."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return set()
    return {word[1] for word in ASSIGNED.finditer(text) if word[2]}
