"""Codex beside its prompts: models, login, upgrades, the flags that we pass.

Facts seen on codex 0.169.0.
"""

from __future__ import annotations

from .catalogue import Catalogue, SettingsFile, codex_listing, codex_profiles
from .upkeep import Upkeep

__all__ = ["CATALOGUE", "UPKEEP"]

CATALOGUE = Catalogue(
    hints={
        "gpt-6.1-sol": "",
        "gpt-6.1-terra": "",
        "gpt-6-astra": "",
        "gpt-6-sol": "",
        "gpt-6-luna": "",
        "gpt-5.6-sol": "",
        "gpt-5.6-terra": "",
        "gpt-5.6-luna": "",
        "gpt-5.5": "",
    },
    files=(
        SettingsFile(
            "CODEX_CONFIG_PATH", "{CODEX_HOME:~/.codex}/config.toml", ("model",), codex_profiles
        ),
    ),
    # The first asks its server; the second prints what this version came with.
    listings=(("debug", "models"), ("debug", "models", "--bundled")),
    read=codex_listing,
)

PROMPT, ACCESS = "every prompt", "access levels"
# What stands before resume and fork, and what has to stand behind them.
FIRST = {
    "--sandbox": ACCESS,
    "--ignore-rules": ACCESS,
    "-c": ACCESS,
    "--model": "-o model",
    "--add-dir": "-o add_dirs",
}
LAST = {
    "--json": PROMPT,
    "--skip-git-repo-check": "prompts outside Git",
    "--output-schema": "--schema",
    "--image": "images",
}


def _logged_in(code: int, text: str) -> bool | None:
    """``codex login status`` exits with 1 where there is no login."""
    if "Not logged in" in text:
        return False
    return True if code == 0 else None


UPKEEP = Upkeep(
    package="@openai/codex",
    latest=("update",),
    status=("login", "status"),
    logged_in=_logged_in,
    prices="openai",
    keys=("CODEX_API_KEY",),
    login_files=("{CODEX_HOME:~/.codex}/auth.json",),
    flags={
        ("exec", "--help"): {**FIRST, **LAST},
        ("exec", "resume", "--help"): {**LAST, "--last": "-o resume_latest"},
        ("exec", "fork", "--help"): LAST,
    },
)
