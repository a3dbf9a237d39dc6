"""Every setting there is: its variable, what it may say, its default, and one line for people."""

from __future__ import annotations

import re
from typing import NamedTuple

from .setting_kinds import NAMES, PATH, SWITCH, TEXT, Kind, number, one_of, whole

__all__ = ["PREFIX", "PROVIDER", "SETTINGS", "Setting"]

PROVIDER = "<PROVIDER>"
PREFIX = "LLM_GATEWAY_"


class Setting(NamedTuple):
    """One setting.

    :param name: its variable; in ``config.toml`` the same without ``LLM_GATEWAY_``, in lower case.
    :param strict: a bad value is an error. :param partly: what is right in a bad value counts.
    :param in_file: False for what only the environment may say.
    :param older: a variable of the original's that counts where this one is not set and it fits.
    """

    name: str
    kind: Kind
    default: str
    meaning: str
    strict: bool = False
    partly: bool = False
    in_file: bool = True
    older: str = ""

    @property
    def key(self) -> str:
        """Its name in ``config.toml``."""
        return self.name.removeprefix(PREFIX).lower()

    def of(self, provider: str) -> Setting:
        """The setting of one provider, where there is one for each."""
        if not provider:
            return self
        word = re.sub(r"[^A-Za-z0-9]", "_", provider).upper()
        return self._replace(name=self.name.replace(PROVIDER, word))


def _bad_jobs_db(text: str) -> str | None:
    from .settings import is_the_recorder, logs_db

    ours = logs_db()
    if ours is None or is_the_recorder(text):
        return None
    return f"jobs are kept in the recorder ({ours})"


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "LLM_GATEWAY_HOME",
        PATH,
        "~/.llm-cli-gateway",
        "directory of the recorder, the approval log, config.toml and locks",
        strict=True,
        in_file=False,
    ),
    Setting(
        "LLM_GATEWAY_LOGS_DB",
        PATH,
        "logs.db in that directory",
        "the flight recorder's SQLite file; empty or none switches it off",
        strict=True,
    ),
    Setting(
        "LLM_GATEWAY_JOBS_DB",
        Kind("path", _bad_jobs_db),
        "",
        "the original's variable; may only name the same file",
    ),
    Setting(
        "LLM_GATEWAY_RETRY_WAIT",
        number(least=0),
        "60",
        "seconds that one prompt may spend waiting in all, the CLI's own retries included",
    ),
    Setting(
        "LLM_GATEWAY_RETRIES",
        whole(0),
        "2",
        "attempts after the first, where what failed may pass and nothing has run",
    ),
    Setting(
        "LLM_GATEWAY_BREAKER_THRESHOLD",
        whole(0),
        "5",
        "failed attempts in a row after which a provider is left alone; 0 leaves none alone",
    ),
    Setting(
        "LLM_GATEWAY_BREAKER_SECONDS",
        number(above=0),
        "60",
        "seconds for which it is left alone before one prompt tries it again",
    ),
    Setting(
        "LLM_GATEWAY_MAX_OUTPUT_MIB",
        number(above=0),
        "1024",
        "MiB that a CLI may print in one run before it is stopped",
    ),
    Setting(
        "LLM_GATEWAY_ALLOW_FULL_ACCESS",
        SWITCH,
        "0",
        "1 allows -o access full; only the environment can say it",
        strict=True,
        in_file=False,
    ),
    Setting(
        "LLM_GATEWAY_APPROVAL_POLICY",
        one_of("", "strict", "balanced", "permissive", "ask"),
        "",
        "approval policy of every prompt that names none; unset: approvals are off",
        strict=True,
    ),
    Setting(
        "APPROVAL_LOG_PROMPTS",
        TEXT,
        "",
        "1 keeps the beginning of the prompt with each approval",
    ),
    Setting(
        "LLM_GATEWAY_PASS_ENV",
        NAMES,
        "",
        "names of further variables that the CLI gets, comma-separated",
        partly=True,
    ),
    Setting(
        "LLM_GATEWAY_DEDUP_WINDOW_MS",
        number(least=0),
        "3600000",
        "milliseconds for which an answer stands in for the same prompt; 0 switches that off",
    ),
    Setting(
        "LLM_GATEWAY_REUSE",
        SWITCH,
        "0",
        "1 lets foreground prompts take an answer that somebody has had, as -o reuse 1",
    ),
    Setting(
        "LLM_GATEWAY_DURABLE",
        SWITCH,
        "0",
        "1 runs foreground prompts as jobs that outlive their command, as -o durable 1",
    ),
    Setting(
        "LLM_GATEWAY_MAX_JOBS",
        whole(1),
        "32",
        "jobs that run at the same time",
    ),
    Setting(
        "LLM_GATEWAY_MAX_JOBS_PER_PROVIDER",
        whole(1),
        "16",
        "jobs of one provider that run at the same time",
    ),
    Setting(
        "LLM_GATEWAY_MAX_QUEUE",
        whole(0),
        "128",
        "jobs that wait for a place; one more is refused",
    ),
    Setting(
        "LLM_GATEWAY_JOB_RETENTION_DAYS",
        number(above=0),
        "30",
        "days after which raw job output and events are pruned",
    ),
    Setting(
        "LLM_GATEWAY_LOG_RETENTION_DAYS",
        number(above=0),
        "",
        "days after which prompts and answers are pruned too; unset keeps them",
    ),
    Setting(
        "LLM_GATEWAY_SESSION_TTL",
        number(above=0),
        "2592000",
        "seconds without use after which the gateway forgets a session; the vendor keeps it",
        older="SESSION_TTL",
    ),
    Setting(
        "LLM_GATEWAY_<PROVIDER>_CLI",
        PATH,
        "",
        "path of the vendor's executable, e.g. LLM_GATEWAY_CLAUDE_CLI",
        strict=True,
    ),
    Setting(
        "LLM_GATEWAY_MODEL_ALIASES",
        TEXT,
        "",
        "short names of models, each after its provider: claude.fast=haiku, or a JSON object",
    ),
    Setting(
        "<PROVIDER>_MODEL_ALIASES",
        TEXT,
        "",
        "the same for one provider, without its name: fast=haiku",
    ),
    Setting(
        "<PROVIDER>_MODELS",
        TEXT,
        "",
        "models to offer: names or name=description with commas between, or JSON",
    ),
    Setting(
        "<PROVIDER>_DEFAULT_MODEL",
        TEXT,
        "",
        "the model that -o model default means; without the option the CLI chooses",
    ),
    Setting(
        "LLM_GATEWAY_DISABLE_MODEL_DISCOVERY",
        SWITCH,
        "0",
        "1 keeps models that answered before out of the list",
    ),
    Setting("CLAUDE_SETTINGS_PATH", PATH, "", "claude's settings.json, read for its model"),
    Setting("CLAUDE_SETTINGS_LOCAL_PATH", PATH, "", "the same for settings.local.json"),
    Setting("CODEX_CONFIG_PATH", PATH, "", "codex's config.toml, read for its models"),
    Setting("GEMINI_SETTINGS_PATH", PATH, "", "gemini's settings.json, read for its model"),
    Setting("GEMINI_HISTORY_ROOT", PATH, "~/.gemini/tmp", "gemini's own history, read for models"),
    Setting(
        "GEMINI_HISTORY_MAX_FILES", whole(0), "200", "how many of its newest files are looked at"
    ),
    Setting("GEMINI_HISTORY_MAX_FILE_BYTES", whole(0), "2097152", "larger ones are left out"),
    Setting("GEMINI_DISABLE_HISTORY_DISCOVERY", SWITCH, "0", "1 leaves gemini's history alone"),
)
