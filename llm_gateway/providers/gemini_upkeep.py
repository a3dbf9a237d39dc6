"""Gemini CLI beside its prompts: models, login, upgrades, the flags that we pass.

Facts seen on gemini 0.61.0. It has no command for its login and none that upgrades it: ``gemini
update`` sends the word to the model.
"""

from __future__ import annotations

from .catalogue import Catalogue, SettingsFile
from .upkeep import Upkeep

__all__ = ["CATALOGUE", "UPKEEP"]

CATALOGUE = Catalogue(
    hints={
        "auto": "the CLI chooses for each prompt",
        "pro": "the latest Pro",
        "flash": "the latest Flash",
        "flash-lite": "the latest Flash-Lite",
    },
    files=(
        SettingsFile(
            "GEMINI_SETTINGS_PATH",
            "{GEMINI_CLI_HOME:~}/.gemini/settings.json",
            ("model", "model.name", "selectedModel", "defaultModel"),
        ),
    ),
    variables=("GEMINI_MODEL",),
    words=("pro", "flash"),
)

ACCESS, SESSION = "access levels", "conversations"
FLAGS = {
    "-o": "every prompt",
    "--skip-trust": "keeping the workspace's settings out",
    "--allowed-mcp-server-names": "keeping MCP servers out",
    "--approval-mode": ACCESS,
    "--policy": ACCESS,
    "--session-id": SESSION,
    "--resume": SESSION,
    "--session-file": "a second reply to one answer",
    "--model": "-o model",
    "--include-directories": "-o add_dirs, and attachments",
}

UPKEEP = Upkeep(
    package="@google/gemini-cli",
    quiet={"GEMINI_CLI_NO_RELAUNCH": "true", "GEMINI_TELEMETRY_ENABLED": "false"},
    prices="google",
    keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    login_files=("{GEMINI_CLI_HOME:~}/.gemini/oauth_creds.json",),
    flags={("--help",): FLAGS},
)
