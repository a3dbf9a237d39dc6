"""What the environment and ``config.toml`` say, read when it is asked; no path is made at import.

One rule for all: the environment, then the file, then the default. A bad value stops no prompt:
the default holds and ``problems()`` names it. Only where a wrong guess would do harm (paths,
access, approval) is it an error, which ``check()`` raises.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InvalidInput
from .setting_kinds import bad_path, names_in
from .settings_file import said_in, text_of
from .settings_table import PREFIX, PROVIDER, SETTINGS, Setting

__all__ = [
    "SETTINGS",
    "Effective",
    "Setting",
    "breaker_seconds",
    "breaker_threshold",
    "check",
    "cli_override",
    "config_file",
    "dedup_window",
    "durable",
    "effective",
    "every",
    "home",
    "in_force",
    "is_the_recorder",
    "job_retention_days",
    "limits",
    "log_retention_days",
    "logs_db",
    "logs_db_is_named",
    "max_output",
    "pass_env",
    "problems",
    "retries",
    "retry_wait",
    "reuse",
    "said",
    "session_ttl",
    "setting",
    "unread",
]

# What a run tells the commands that its agent may run; nobody sets these by hand.
_OF_A_RUN = frozenset(f"{PREFIX}{word}" for word in ("ACCESS_CAP", "ANCESTORS", "DEPTH", "RUN"))
_OFF = ("", "none")
_BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


class Effective(NamedTuple):
    """What holds: the value as text, where it is from, and what is wrong with what was said."""

    value: str
    source: str
    problem: str | None = None


def home() -> Path:
    """The directory of everything that the gateway keeps."""
    named = os.environ.get("LLM_GATEWAY_HOME", "").strip()
    here = "" if named[:1] in ("", "/", "~") else os.getcwd()
    return _home(named, os.environ.get("HOME"), here)


@lru_cache(maxsize=4)
def _home(named: str, *_: str | None) -> Path:
    """A path that only these three can change; it is asked for twenty times a prompt."""
    return _path("LLM_GATEWAY_HOME", named) if named else Path.home() / ".llm-cli-gateway"


def config_file() -> Path:
    """The file that says what the environment does not."""
    return _config_file(home())


@lru_cache(maxsize=4)
def _config_file(home: Path) -> Path:
    return home / "config.toml"


def logs_db() -> Path | None:
    """The recorder's file as the settings have it; None where it is switched off."""
    named = _spoken(_BY_NAME["LLM_GATEWAY_LOGS_DB"])
    if named is None:
        return home() / "logs.db"
    text, source, _ = named
    return None if text.strip().lower() in _OFF else _path(source, text.strip())


def logs_db_is_named() -> bool:
    """Whether a person chose the recorder's file, so that it is not ours to move."""
    return _spoken(_BY_NAME["LLM_GATEWAY_LOGS_DB"]) is not None


def is_the_recorder(text: str) -> bool:
    """Whether a path that somebody names is the recorder's."""
    return not bad_path(text) and _path("", text.strip()) == logs_db()


def retry_wait() -> float:
    """Seconds that one prompt may spend waiting in all."""
    return float(said("LLM_GATEWAY_RETRY_WAIT"))


def retries() -> int:
    """Attempts that may follow a first one which failed."""
    return int(said("LLM_GATEWAY_RETRIES"))


def breaker_threshold() -> int:
    """Failed attempts in a row that open a breaker; 0 for none that does."""
    return int(said("LLM_GATEWAY_BREAKER_THRESHOLD"))


def breaker_seconds() -> float:
    """Seconds for which a breaker stays open where the vendor states no time."""
    return float(said("LLM_GATEWAY_BREAKER_SECONDS"))


def max_output() -> float:
    """Bytes that a CLI may print in one run."""
    return float(said("LLM_GATEWAY_MAX_OUTPUT_MIB")) * 1024 * 1024


def pass_env() -> tuple[str, ...]:
    """Names of further variables that the child gets."""
    return names_in(said("LLM_GATEWAY_PASS_ENV"))


def cli_override(provider: str) -> str | None:
    """The executable that the user chose for this provider."""
    held = effective(setting("LLM_GATEWAY_<PROVIDER>_CLI").of(provider))
    if held.problem:
        raise InvalidInput(f"{held.problem}.")
    return os.path.expanduser(held.value) or None


def dedup_window() -> float:
    """Seconds for which an answer stands in for the same prompt; 0 switches deduplication off."""
    return float(said("LLM_GATEWAY_DEDUP_WINDOW_MS")) / 1000


def reuse() -> bool:
    """Whether foreground prompts take answers that somebody has had."""
    return said("LLM_GATEWAY_REUSE") == "1"


def durable() -> bool:
    """Whether foreground prompts run as jobs that outlive their command."""
    return said("LLM_GATEWAY_DURABLE") == "1"


def limits() -> tuple[int, int, int]:
    """How many jobs run in all, how many of one provider, and how many wait."""
    return (
        int(said("LLM_GATEWAY_MAX_JOBS")),
        int(said("LLM_GATEWAY_MAX_JOBS_PER_PROVIDER")),
        int(said("LLM_GATEWAY_MAX_QUEUE")),
    )


def job_retention_days() -> float:
    """Days after which raw job output and events are pruned."""
    return float(said("LLM_GATEWAY_JOB_RETENTION_DAYS"))


def log_retention_days() -> float | None:
    """Days after which requests and bodies are pruned too; None keeps them for ever."""
    days = said("LLM_GATEWAY_LOG_RETENTION_DAYS")
    return float(days) if days else None


def setting(name: str) -> Setting:
    """The row of a setting."""
    return _BY_NAME[name]


def session_ttl() -> float:
    """Seconds without use after which our record of a session is hidden and pruned."""
    return float(said("LLM_GATEWAY_SESSION_TTL"))


def said(name: str, provider: str = "") -> str:
    """The value of a setting that counts, as text; the default where what was said is wrong."""
    return effective(setting(name).of(provider)).value


def effective(setting: Setting, file: Mapping[str, Any] | None = None) -> Effective:
    """What holds of a setting, and why. :param file: what ``config.toml`` has, if that is known."""
    spoken = _spoken(setting, file)
    if spoken is None:
        return Effective(setting.default, "default")
    text, where, source = spoken
    wrong = setting.kind.wrong(text)
    if wrong is None:
        return Effective(text.strip(), source)
    problem = f"{where}={text}: {wrong}"
    if setting.partly:
        return Effective(text.strip(), source, problem)
    if not setting.strict:
        problem += f"; {setting.default} is used" if setting.default else "; ignored"
    return Effective(setting.default, "default", problem)


def in_force(setting: Setting, held: Effective) -> object:
    """What a setting comes to: for the recorder's two paths, the path; else the text that holds."""
    paths = {"LLM_GATEWAY_HOME": home, "LLM_GATEWAY_LOGS_DB": logs_db}
    return paths[setting.name]() if setting.name in paths else held.value


def every(providers: Iterable[str]) -> Iterator[tuple[Setting, Effective]]:
    """Every setting and what holds of it, with one row a provider where each has its own."""
    names, file = tuple(providers), _file()
    for setting in SETTINGS:
        for row in [setting.of(p) for p in names] if PROVIDER in setting.name else [setting]:
            yield row, effective(row, file)


def problems() -> list[str]:
    """One sentence for each value that does not count, and for each key that nothing reads."""
    try:
        file = _file()
    except InvalidInput:  # check() says it
        return []
    held = [effective(s, file) for s in SETTINGS if PROVIDER not in s.name and not s.strict]
    return [*(e.problem for e in held if e.problem), *_unknown_keys(file)]


def unread() -> list[str]:
    """Variables that look like settings of ours and are none: a slip of the pen, most likely."""
    names = (n for n in os.environ if n.startswith(PREFIX) and n not in _OF_A_RUN)
    keys = {name: name.removeprefix(PREFIX).lower() for name in names}
    return sorted(n for n, key in keys.items() if not any(_is_key_of(key, s) for s in SETTINGS))


def check() -> None:
    """Refuse what must not be guessed.

    :raises InvalidInput: for a bad path, access or approval setting, and a file that is no TOML.
    """
    file = _file()
    for setting in SETTINGS:
        if setting.strict and (problem := effective(setting, file).problem):
            raise InvalidInput(f"{problem}.")


def _spoken(setting: Setting, file: Mapping[str, Any] | None = None) -> tuple[str, str, str] | None:
    """The text of a setting that somebody said, what names it there, and where that is."""
    if (text := os.environ.get(setting.name)) is not None:
        return text, setting.name, "environment"
    if setting.in_file:
        value = (_file() if file is None else file).get(setting.key)
        if value is not None:
            return text_of(value), f"{setting.key} in {config_file()}", "config.toml"
    text = os.environ.get(setting.older) if setting.older else None
    if text is not None and setting.kind.wrong(text) is None:
        return text, setting.older, f"environment ({setting.older})"
    return None


def _file() -> Mapping[str, Any]:
    return said_in(config_file())


def _unknown_keys(file: Mapping[str, Any]) -> Iterator[str]:
    for key in file:
        setting = next((s for s in SETTINGS if _is_key_of(key, s)), None)
        if setting is None:
            yield f"{config_file()} has {key}, which is no setting (see: llm gateway settings)"
        elif not setting.in_file:
            yield f"{config_file()} has {key}, which only the variable {setting.name} can set"


def _is_key_of(key: str, setting: Setting) -> bool:
    pattern = re.escape(setting.key).replace(re.escape(PROVIDER.lower()), "[a-z0-9_]+")
    return re.fullmatch(pattern, key) is not None


def _path(where: str, text: str) -> Path:
    if wrong := bad_path(text):
        raise InvalidInput(f"{where}={text}: {wrong}.")
    return Path(os.path.expanduser(text)).absolute()
