"""Grok beside its prompts: models, login, upgrades, the flags that we pass.

Facts seen on grok 1.0.41.
"""

from __future__ import annotations

from .catalogue import Catalogue, SettingsFile, grok_listing
from .upkeep import Upkeep

__all__ = ["CATALOGUE", "UPKEEP"]

CATALOGUE = Catalogue(
    hints={"grok-4.6": "", "grok-4.5": ""},
    files=(SettingsFile("", "{GROK_HOME:~/.grok}/config.toml", ("models.default",)),),
    listings=(("models",),),
    read=grok_listing,
)

PROMPT, ACCESS, SESSION = "every prompt", "access levels", "conversations"
FLAGS = {
    "--prompt-file": PROMPT,
    "--verbatim": PROMPT,
    "--output-format": PROMPT,
    "--include-partial-messages": "text as it is written",
    "--cwd": PROMPT,
    "--permission-mode": ACCESS,
    "--always-approve": "access full",
    "--deny": ACCESS,
    "--allow": ACCESS,
    "--tools": ACCESS,
    "--disallowed-tools": "-o disallowed_tools",
    "--session-id": SESSION,
    "--resume": SESSION,
    "--fork-session": "a second reply to one answer",
    "--continue": "-o resume_latest",
    "--model": "-o model",
    "--effort": "-o effort",
    "--max-turns": "-o max_turns",
    "--rules": "system prompts, and AGENTS.md",
    "--json-schema": "--schema",
}


def _logged_in(code: int, text: str) -> bool | None:
    """``grok models`` says it before it lists them, whatever its exit code."""
    return "not authenticated" not in text if code == 0 and text.strip() else None


UPKEEP = Upkeep(
    package="@xai-official/grok",
    latest=("update",),
    chosen=("update", "--version", "{target}"),
    quiet={"GROK_DISABLE_AUTOUPDATER": "1"},
    status=("models",),
    logged_in=_logged_in,
    prices="x-ai",
    keys=("XAI_API_KEY",),
    login_files=("{GROK_HOME:~/.grok}/auth.json",),
    flags={("--help",): FLAGS},
)
