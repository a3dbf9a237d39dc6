"""Claude Code: its flags, its access levels, its sessions.

What it prints is read in ``claude_output``. What holds each access level is the set of tools that
is offered at all: permission modes alone let repository code run. Facts seen on claude 2.1.330.
"""

from __future__ import annotations

import binascii
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import (
    InvalidInput,
)
from ..policy.child_env import VendorVariables
from ..request import Access, Invocation, Options, Request, SessionPlan
from .base import (
    SHARED_OPTIONS,
    Launch,
    Level,
    Provider,
    flag,
    private_file,
    quoted_prompt,
    tool_base,
)
from .claude_output import LOGIN, TITLE, ClaudeParser
from .claude_upkeep import CATALOGUE, UPKEEP
from .features import mentions_variable
from .instructions import workspace_instructions, workspace_root

if TYPE_CHECKING:
    from . import mcp
    from .stored import StoredSession

__all__ = ["Claude"]

READ_TOOLS = ("Read", "Grep", "Glob")
EDIT_TOOLS = (*READ_TOOLS, "Edit", "Write", "NotebookEdit")
INSTRUCTIONS = ("CLAUDE.md", ".claude/CLAUDE.md", "CLAUDE.local.md")
NO_MENTIONS = "CLAUDE_CODE_DISABLE_FILE_MENTIONS"
ARGUMENT_LIMIT = 131_071
MIB = 1024 * 1024

OWN_SETTINGS = ("--setting-sources", "user")
NO_MCP = ("--strict-mcp-config",)

LEVELS = {
    Access.READ: Level(
        ("--permission-mode", "dontAsk"),
        "reads and searches the workspace; no shell, no web, no MCP tools but named ones; nothing "
        "outside it",
        READ_TOOLS,
    ),
    Access.EDIT: Level(
        ("--permission-mode", "acceptEdits"),
        "also writes files in the workspace; no shell, no web; a user rule that allows Write "
        "everywhere still holds",
        EDIT_TOOLS,
    ),
    Access.FULL: Level(("--permission-mode", "bypassPermissions"), "everything the user may do"),
}
ASKING = ("--permission-mode", "dontAsk")
# claude refuses bypassPermissions to root outside a sandbox; these rules come closest to it.
ROOT_FULL = (
    *("--permission-mode", "dontAsk", "--allowedTools"),
    "Bash,Edit,Write,NotebookEdit,WebFetch,WebSearch,Agent,Read(//**)",
)

TOOL_NAMES = frozenset(
    {
        *("Agent", "Bash", "BashOutput", "CronCreate", "CronDelete", "CronList", "Edit"),
        *("EnterWorktree", "ExitWorktree", "Glob", "Grep", "KillShell", "ListAgents", "LSP"),
        *("Monitor", "NotebookEdit", "Read", "ReportFindings", "ScheduleWakeup", "SendMessage"),
        *("Skill", "SlashCommand", "Task", "TaskStop", "TodoWrite", "ToolSearch", "WebFetch"),
        *("WebSearch", "Workflow", "Write"),
    }
)


class Claude(Provider):
    name = "claude"
    title = TITLE
    command = "claude"
    install = "npm install -g @anthropic-ai/claude-code"
    login = LOGIN
    levels = LEVELS
    options = SHARED_OPTIONS | {
        *("add_dirs", "resume_latest", "allowed_tools", "disallowed_tools"),
        *("effort", "max_turns", "max_cost_usd", "permission_mode"),
    }
    native_words = {
        "permission_mode": {
            "default": Access.READ,
            "manual": Access.READ,
            "dontAsk": Access.READ,
            "plan": Access.READ,
            "acceptEdits": Access.EDIT,
            # It asks a model, which may say yes to a file outside the workspace.
            "auto": Access.FULL,
            "bypassPermissions": Access.FULL,
        }
    }
    tool_names = TOOL_NAMES
    workspace_tools = frozenset(READ_TOOLS)
    efforts = ("low", "medium", "high", "xhigh", "max")
    attachment_types = frozenset(
        {"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "text/plain"}
    )
    config_place = ("CLAUDE_CONFIG_DIR", "~/.claude")
    install_places = ("~/.claude/local", "~/.claude/bin")
    prompt_limit = 10 * MIB
    notes = {
        "reasoning": "shown",
        "system prompt": "added to its own, on every turn",
        "schema": "native",
        "usage": "tokens, cache, cost (the session's sum, of which this turn's part is told)",
        "stop reason": "told",
        "own retries": "told one by one; stopped after retry_wait",
        "MCP servers": "by name, yours, or from a file; below full no tool but those that "
        "allowed_tools names",
    }
    catalogue = CATALOGUE
    upkeep = UPKEEP
    forks_at_message = True
    mcp_names = ("mcp__", "__")
    variables = VendorVariables(
        names=(
            *("ANTHROPIC_*", "CLAUDE_*", "IS_SANDBOX", "DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER"),
            *("DISABLE_ERROR_REPORTING", "DISABLE_PROMPT_CACHING*", "MAX_THINKING_TOKENS"),
            *("API_TIMEOUT_MS", "MCP_TIMEOUT", "MCP_TOOL_TIMEOUT", "BASH_*_TIMEOUT_MS"),
        ),
        without=("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT"),
        switched={
            "AWS_*": ("CLAUDE_CODE_USE_BEDROCK",),
            "GOOGLE_*": ("CLAUDE_CODE_USE_VERTEX",),
            "CLOUD_ML_*": ("CLAUDE_CODE_USE_VERTEX",),
            "VERTEX_*": ("CLAUDE_CODE_USE_VERTEX",),
        },
    )

    def check(self, request: Request, access: Access) -> None:
        super().check(request, access)
        o = request.options
        if any("(" in tool for tool in (*(o.allowed_tools or ()), *(o.disallowed_tools or ()))):
            from .claude_rules import check_rules

            check_rules(o, access)

    def plan(self, request: Request, launch: Launch) -> Invocation:
        o = request.options
        servers, secrets = self._servers(request, launch)
        argv = [
            *(launch.executable, "-p", "--input-format", "stream-json"),
            *("--output-format", "stream-json", "--verbose", "--include-partial-messages"),
            *_workspace_trust(launch.access, bool(o.trust_workspace)),
            *servers,
            *_access(request, launch),
            *_session(launch.session),
            *flag("--model", o.model),
            *flag("--effort", o.effort),
            *flag("--max-turns", o.max_turns),
            *flag("--max-budget-usd", None if o.max_cost_usd is None else f"{o.max_cost_usd:.6f}"),
            *(part for d in o.add_dirs or () for part in ("--add-dir", d)),
            *_system(request, launch),
            *_schema(request.schema),
        ]
        env = {**secrets, **launch.env, NO_MENTIONS: "1"}
        known = "@" not in request.prompt or mentions_variable(
            launch.executable, NO_MENTIONS, launch.state
        )
        line = _user_line(request, launch.session, file_mentions_off=known)
        return Invocation(
            argv=tuple(argv),
            stdin=line,
            env=env,
            cwd=launch.cwd,
            access=launch.access,
            session=launch.session,
        )

    def stored_sessions(self, environ: Mapping[str, str]) -> Iterator[StoredSession]:
        from . import stored

        return stored.claude(Path(self.config_dir(environ)))

    def servers(self, options: Options, environ: Mapping[str, str]) -> mcp.Definitions:
        if not options.mcp_servers:
            return {}
        from . import mcp

        file = _user_file(environ)
        own = mcp.own_servers(file)
        if options.trust_workspace:
            own = {**mcp.own_servers(workspace_root(options.cwd or ".") / ".mcp.json"), **own}
        return mcp.named(options.mcp_servers, own, str(file), options)

    def _servers(self, request: Request, launch: Launch) -> tuple[list[str], dict[str, str]]:
        """Return the flags for MCP servers, and the variables that their definitions name."""
        o, held = request.options, launch.access is not Access.FULL
        only = bool(o.strict_mcp_config) or o.mcp_servers == ()
        # Below full the flag is there already, unless the workspace is trusted.
        strict = list(NO_MCP) if only and (not held or o.trust_workspace) else []
        if not o.mcp_servers:
            return strict, {}
        from . import mcp

        told, secrets = mcp.without_secrets(self.servers(o, launch.environ), launch.environ)
        path = private_file(launch.files, "mcp.json", json.dumps({"mcpServers": told}, indent=2))
        named = [t for t in o.allowed_tools or () if t.startswith("mcp__")] if held else []
        rules = named if held else [f"mcp__{name}" for name in told]
        allowed = [part for rule in rules for part in ("--allowedTools", rule)]
        hold = ["--settings", str(_only(named, launch.files))] if held else []
        return ["--mcp-config", str(path), *strict, *allowed, *hold], secrets

    def parser(self, request: Request, invocation: Invocation) -> ClaudeParser:
        parser = ClaudeParser()
        parser.structured = request.schema is not None
        parser.cost_before = cost_before(invocation.session)
        return parser


def _user_file(environ: Mapping[str, str]) -> Path:
    """Where claude keeps the servers that its user added for all directories."""
    home = environ.get("CLAUDE_CONFIG_DIR") or environ.get("HOME") or os.path.expanduser("~")
    return Path(home, ".claude.json")


def _only(tools: list[str], folder: Path) -> Path:
    """Write settings that refuse every tool of an MCP server but these.

    A hook, because the user's own rules may allow whole servers, and a rule that denies a server
    cannot leave one of its tools out.
    """
    names = "|".join(re.escape(tool.removeprefix("mcp__")) for tool in tools)
    hook = {"type": "command", "command": "echo 'not allowed at this access level' >&2; exit 2"}
    matcher = f"^mcp__(?!(?:{names})$)" if tools else "^mcp__"
    settings = {
        "disableAllHooks": False,
        "hooks": {"PreToolUse": [{"matcher": matcher, "hooks": [hook]}]},
    }
    return private_file(folder, "settings.json", json.dumps(settings))


def cost_before(session: SessionPlan) -> float | None:
    """What the session had cost before this turn: claude's figure is a running sum."""
    return 0.0 if session.kind == "new" else session.cost_before


def _workspace_trust(access: Access, trusted: bool) -> tuple[str, ...]:
    if trusted:
        return ()
    return OWN_SETTINGS if access is Access.FULL else (*OWN_SETTINGS, *NO_MCP)


def _access(request: Request, launch: Launch) -> list[str]:
    o, level = request.options, LEVELS[launch.access]
    mode: tuple[str, ...] = level.argv
    if launch.access is Access.FULL and _is_root() and not launch.env.get("IS_SANDBOX"):
        mode = ROOT_FULL
    rules = [tool for tool in o.allowed_tools or () if "(" in tool]
    if rules:
        from .claude_rules import granted

        # In the modes of edit and full it does not ask whether a rule allows what it does.
        mode, rules = ASKING, granted(o.allowed_tools or (), launch.access)
    if word := o.native.get("permission_mode"):
        mode = ("--permission-mode", word)
    argv = [*mode]
    offered = _offered(level, o.allowed_tools, o.disallowed_tools)
    if offered is not None:
        argv += ["--tools", ",".join(offered)]
    argv += [part for rule in rules for part in ("--allowedTools", rule)]
    argv += [part for tool in o.disallowed_tools or () for part in ("--disallowedTools", tool)]
    return argv


def _offered(
    level: Level, allowed: tuple[str, ...] | None, disallowed: tuple[str, ...] | None
) -> list[str] | None:
    """Return the tools to offer; None for all that the CLI has."""
    if allowed is None:
        names: tuple[str, ...] = level.tools
    else:
        names = tuple(dict.fromkeys(tool_base(tool) for tool in allowed if tool[:4] != "mcp_"))
    if allowed is None and not level.tools:
        return None
    whole = {tool for tool in disallowed or () if "(" not in tool}
    return [name for name in names if name not in whole]


def _session(session: SessionPlan) -> list[str]:
    new = ["--session-id", session.new_id] if session.new_id else []
    # The system prompt of a session is frozen at its first turn unless this is off.
    live = ["--system-prompt-snapshot", "off"]
    if session.kind == "resume" and session.session_id:
        return ["--resume", session.session_id, *live]
    if session.kind == "fork" and session.session_id:
        at = flag("--resume-session-at", session.at)
        return ["--resume", session.session_id, "--fork-session", *at, *new, *live]
    if session.kind == "latest":
        return ["--continue", *live]
    return new


def _system(request: Request, launch: Launch) -> list[str]:
    parts = [request.system or ""]
    if not request.options.trust_workspace:
        # Without the workspace's settings claude leaves out its instructions too.
        parts.append(workspace_instructions(launch.cwd, INSTRUCTIONS))
    text = "\n\n".join(filter(None, parts))
    if not text:
        return []
    path = private_file(launch.files, "system.md", text)
    return ["--append-system-prompt-file", str(path)]


def _schema(schema: Mapping[str, Any] | None) -> list[str]:
    if schema is None:
        return []
    text = json.dumps(schema)
    if len(text.encode()) > ARGUMENT_LIMIT:
        raise InvalidInput("The schema is longer than the 128 KiB that claude takes.")
    return ["--json-schema", text]


def _user_line(request: Request, session: SessionPlan, *, file_mentions_off: bool) -> bytes:
    blocks = [_attachment_block(a.type, a.bytes()) for a in request.attachments]
    blocks += [
        {"type": "text", "text": text}
        for text in disarm(quoted_prompt(request.prompt, session.quoted), file_mentions_off)
    ]
    message = {"type": "user", "message": {"role": "user", "content": blocks}}
    return json.dumps(message, ensure_ascii=False).encode() + b"\n"


def disarm(prompt: str, file_mentions_off: bool) -> list[str]:
    """Cut the prompt into text blocks that claude neither executes nor expands.

    It parses the last block only: a leading ``/`` there is a command, ``@path`` is read from disk
    unless a variable says otherwise. Where the variable is unknown, a full stop takes that place.
    """
    rest = prompt.lstrip("/")
    slashes = prompt[: len(prompt) - len(rest)]
    blocks = [slashes, rest] if slashes and rest else [prompt]
    return blocks if file_mentions_off else [*blocks, "."]


def _attachment_block(mime: str, content: bytes) -> dict[str, Any]:
    if mime == "text/plain":
        return {"type": "text", "text": content.decode("utf-8", "replace")}
    kind = "document" if mime == "application/pdf" else "image"
    data = binascii.b2a_base64(content, newline=False).decode("ascii")
    return {"type": kind, "source": {"type": "base64", "media_type": mime, "data": data}}


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
