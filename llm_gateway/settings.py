"""What the environment says, read at the time of asking; no path is computed at import.

A bad value never stops a prompt: the default holds, and ``problems()`` names it once, for a person.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "SETTINGS",
    "Setting",
    "cli_override",
    "home",
    "job_retention_days",
    "log_retention_days",
    "logs_db",
    "logs_db_is_named",
    "max_output",
    "pass_env",
    "problems",
    "retry_wait",
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_OFF = ("", "none")


class Setting(NamedTuple):
    """One variable: name, what holds without it, what it means; ``bad`` says what is wrong."""

    name: str
    default: str
    meaning: str
    bad: Callable[[str], str | None]


def home() -> Path:
    """The directory of everything that the gateway keeps."""
    named = os.environ.get("LLM_GATEWAY_HOME", "").strip()
    return Path(named).expanduser().absolute() if named else Path.home() / ".llm-cli-gateway"


def logs_db() -> Path | None:
    """The recorder's file as the environment has it; None where it is switched off."""
    named = os.environ.get("LLM_GATEWAY_LOGS_DB")
    if named is None:
        return home() / "logs.db"
    if named.strip().lower() in _OFF:
        return None
    return Path(named.strip()).expanduser().absolute()


def logs_db_is_named() -> bool:
    """Whether a person chose the recorder's file, so that it is not ours to move."""
    return "LLM_GATEWAY_LOGS_DB" in os.environ


def retry_wait() -> float:
    """Seconds that one prompt may spend waiting in all."""
    return _number("LLM_GATEWAY_RETRY_WAIT", lowest=0.0) or 0.0


def max_output() -> float:
    """Bytes that a CLI may print in one run."""
    return (_number("LLM_GATEWAY_MAX_OUTPUT_MIB", above=0.0) or 1024.0) * 1024 * 1024


def pass_env() -> tuple[str, ...]:
    """Names of further variables that the child gets."""
    return tuple(name for name in _listed() if _NAME.match(name))


def cli_override(provider: str) -> str | None:
    """The executable that the user chose for this provider."""
    named = os.environ.get(f"LLM_GATEWAY_{_upper(provider)}_CLI", "").strip()
    return os.path.expanduser(named) or None


def job_retention_days() -> float:
    """Days after which raw job output and events are pruned."""
    return _number("LLM_GATEWAY_JOB_RETENTION_DAYS", above=0.0) or 30.0


def log_retention_days() -> float | None:
    """Days after which requests and bodies are pruned too; None keeps them for ever."""
    return _number("LLM_GATEWAY_LOG_RETENTION_DAYS", above=0.0)


def problems() -> list[str]:
    """One sentence for each variable whose value does not count."""
    found = []
    for setting in SETTINGS:
        value = os.environ.get(setting.name)
        wrong = None if value is None else setting.bad(value)
        if wrong:
            found.append(f"{setting.name}={value}: {wrong}")
    return found


def _upper(provider: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", provider).upper()


def _listed() -> list[str]:
    names = os.environ.get("LLM_GATEWAY_PASS_ENV", "").split(",")
    return [name.strip() for name in names if name.strip()]


def _parse(value: str, lowest: float | None, above: float | None) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number) or (lowest is not None and number < lowest):
        return None
    return None if above is not None and number <= above else number


def _number(name: str, lowest: float | None = None, above: float | None = None) -> float | None:
    value = os.environ.get(name)
    number = None if value is None else _parse(value, lowest, above)
    if number is not None:
        return number
    default = next(setting.default for setting in SETTINGS if setting.name == name)
    return float(default) if default else None


def _not_a_number(
    default: str, lowest: float | None = None, above: float | None = None
) -> Callable[[str], str | None]:
    def bad(value: str) -> str | None:
        return None if _parse(value, lowest, above) is not None else f"not usable, {default}"

    return bad


def _bad_jobs_db(value: str) -> str | None:
    named, ours = Path(value.strip()).expanduser().absolute(), logs_db()
    if ours is None or named == ours:
        return None
    return f"ignored, jobs are kept in the recorder ({ours})"


def _bad_switch(value: str) -> str | None:
    return None if value.strip() in ("", "0", "1") else "not 1, so full access stays off"


def _bad_names(_: str) -> str | None:
    bad = [name for name in _listed() if not _NAME.match(name)]
    return f"no variable can be called {', '.join(bad)}; ignored" if bad else None


def _never(_: str) -> str | None:
    return None


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "LLM_GATEWAY_HOME",
        "~/.llm-cli-gateway",
        "directory of the recorder, the approval log and locks",
        _never,
    ),
    Setting(
        "LLM_GATEWAY_LOGS_DB",
        "logs.db in that directory",
        "the flight recorder's SQLite file; empty or none switches it off",
        _never,
    ),
    Setting(
        "LLM_GATEWAY_JOBS_DB",
        "",
        "the original's variable; may only name the same file",
        _bad_jobs_db,
    ),
    Setting(
        "LLM_GATEWAY_RETRY_WAIT",
        "60",
        "seconds that one prompt may spend waiting in all, the CLI's own retries included",
        _not_a_number("60 seconds are used", lowest=0.0),
    ),
    Setting(
        "LLM_GATEWAY_MAX_OUTPUT_MIB",
        "1024",
        "MiB that a CLI may print in one run before it is stopped",
        _not_a_number("1024 MiB are allowed", above=0.0),
    ),
    Setting(
        "LLM_GATEWAY_ALLOW_FULL_ACCESS",
        "0",
        "1 allows -o access full",
        _bad_switch,
    ),
    Setting(
        "LLM_GATEWAY_PASS_ENV",
        "",
        "names of further variables that the CLI gets, comma-separated",
        _bad_names,
    ),
    Setting(
        "LLM_GATEWAY_JOB_RETENTION_DAYS",
        "30",
        "days after which raw job output and events are pruned",
        _not_a_number("30 days are used", above=0.0),
    ),
    Setting(
        "LLM_GATEWAY_LOG_RETENTION_DAYS",
        "",
        "days after which prompts and answers are pruned too; unset keeps them",
        _not_a_number("nothing is pruned", above=0.0),
    ),
    Setting(
        "LLM_GATEWAY_<PROVIDER>_CLI",
        "",
        "path of the vendor's executable, e.g. LLM_GATEWAY_CLAUDE_CLI",
        _never,
    ),
)
