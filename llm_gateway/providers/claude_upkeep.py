"""Claude Code beside its prompts: models, login, upgrades, the flags that we pass.

Facts seen on claude 2.1.330.
"""

from __future__ import annotations

import json

from .catalogue import Catalogue, SettingsFile, claude_listing
from .upkeep import Upkeep

__all__ = ["CATALOGUE", "UPKEEP"]

CATALOGUE = Catalogue(
    hints={
        "opus": "the latest Opus",
        "sonnet": "the latest Sonnet",
        "haiku": "the latest Haiku",
        "fable": "the latest Fable",
    },
    default="sonnet",
    files=(
        SettingsFile(
            "CLAUDE_SETTINGS_PATH",
            "{CLAUDE_CONFIG_DIR:~/.claude}/settings.json",
            ("model", "model.name"),
        ),
        SettingsFile(
            "CLAUDE_SETTINGS_LOCAL_PATH",
            "{CLAUDE_CONFIG_DIR:~/.claude}/settings.local.json",
            ("model", "model.name"),
        ),
    ),
    variables=("ANTHROPIC_MODEL",),
    listings=(("--help",),),
    read=claude_listing,
)

PROMPT, ACCESS, SESSION = "every prompt", "access levels", "conversations"
FLAGS = {
    "-p": PROMPT,
    "--input-format": PROMPT,
    "--output-format": PROMPT,
    "--verbose": PROMPT,
    "--include-partial-messages": "text as it is written",
    "--setting-sources": "keeping the workspace's settings and hooks out",
    "--strict-mcp-config": "keeping MCP servers out",
    "--mcp-config": "-o mcp_servers",
    "--settings": "-o mcp_servers below access full",
    "--permission-mode": ACCESS,
    "--tools": ACCESS,
    "--allowedTools": "rules in -o allowed_tools, and full access as root",
    "--disallowedTools": "-o disallowed_tools",
    "--session-id": SESSION,
    "--resume": SESSION,
    "--fork-session": "a second reply to one answer",
    "--resume-session-at": "a second reply to an earlier answer",
    "--continue": "-o resume_latest",
    "--system-prompt-snapshot": "a new system prompt in a conversation",
    "--append-system-prompt-file": "system prompts, and CLAUDE.md",
    "--model": "-o model",
    "--effort": "-o effort",
    "--max-turns": "-o max_turns",
    "--max-budget-usd": "-o max_cost_usd",
    "--add-dir": "-o add_dirs",
    "--json-schema": "--schema",
}


def _logged_in(code: int, text: str) -> bool | None:
    """``claude auth status`` prints JSON, and exits with 1 where there is no login."""
    try:
        return bool(json.loads(text)["loggedIn"])
    except (ValueError, LookupError, TypeError):
        return None


UPKEEP = Upkeep(
    package="@anthropic-ai/claude-code",
    latest=("update",),
    chosen=("install", "{target}"),
    quiet={
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    },
    status=("auth", "status"),
    logged_in=_logged_in,
    keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    login_files=("{CLAUDE_CONFIG_DIR:~/.claude}/.credentials.json",),
    flags={("--help",): FLAGS},
    hidden=frozenset(
        {
            "--max-turns",
            "--resume-session-at",
            "--system-prompt-snapshot",
            "--append-system-prompt-file",
        }
    ),
)
