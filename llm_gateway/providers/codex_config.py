"""What codex's own config.toml says that a run has to know; nothing here writes it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..records import record
from ..settings_file import toml

__all__ = ["SYSTEM", "CodexConfig", "codex_config", "inline", "scanned", "settings", "user_file"]

SYSTEM = Path("/etc/codex/config.toml")
BEDROCK = "amazon-bedrock"
Table = Mapping[str, Any]

_LONG_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"""|' + r"'''.*?'''", re.DOTALL)
_KEY = r"""(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)"""
_PATH = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[{{1,2}}\s*({_PATH})\s*\]{{1,2}}\s*(?:#.*)?$")
_PAIR = re.compile(rf"\s*({_PATH})\s*=\s*(\{{.*|\"[^\"]*\"|'[^']*'|[^\s#]+)")
_INNER = re.compile(rf"({_KEY})\s*=\s*(\"[^\"]*\"|'[^']*')")


@record(frozen=True)
class CodexConfig:
    """What is asked for.

    ``variables`` are those from which the chosen model provider takes its keys and headers;
    ``instructions`` the files beside AGENTS.md that count as instructions.
    """

    model: str | None = None
    servers: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()


def codex_config(environ: Mapping[str, str]) -> CodexConfig:
    """Return what the machine's and the user's file say; what is not there is not said."""
    files = [_parsed(path) for path in (SYSTEM, user_file(environ))]
    said: dict[str, Any] = {key: file[key] for file in files for key in file}
    provider = str(said.get("model_provider", ""))
    chosen = [_table(_table(file, "model_providers"), provider) for file in files]
    more = said.get("project_doc_fallback_filenames")
    return CodexConfig(
        model=said["model"] if isinstance(said.get("model"), str) else None,
        servers=tuple(name for file in files for name in _tables_in(file, "mcp_servers")),
        variables=tuple(name for table in chosen for name in _variables(table))
        + (("AWS_*",) if provider == BEDROCK else ()),
        instructions=tuple(map(str, more)) if isinstance(more, list) else (),
    )


def user_file(environ: Mapping[str, str]) -> Path:
    """Where the user's own file is."""
    home = environ.get("CODEX_HOME") or os.path.join(environ.get("HOME", ""), ".codex")
    return Path(home, "config.toml")


def _variables(provider: Table) -> Iterator[str]:
    named = (provider.get("env_key"), *_table(provider, "env_http_headers").values())
    return (name for name in named if isinstance(name, str))


def _tables_in(file: Table, name: str) -> Iterator[str]:
    return (key for key, value in _table(file, name).items() if isinstance(value, Mapping))


def _table(table: Table, name: str) -> Table:
    found = table.get(name)
    return found if isinstance(found, Mapping) else {}


def _parsed(path: Path) -> Table:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    try:
        return toml(text)
    except ValueError:
        return scanned(text)


def scanned(text: str) -> Table:
    """Read tables and strings only, of a file that has a mistake in it somewhere."""
    root: dict[str, Any] = {}
    table = root
    for line in _LONG_STRING.sub('""', text).splitlines():
        if header := _HEADER.match(line):
            table = _reached(root, _keys(header[1]))
        elif pair := _PAIR.match(line):
            *path, last = _keys(pair[1])
            _reached(table, path)[last] = _value(pair[2])
    return root


def _reached(table: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for key in path:
        if not isinstance(table.get(key), dict):
            table[key] = {}
        table = table[key]
    return table


def _keys(path: str) -> list[str]:
    return [key.strip("\"'") for key in re.findall(_KEY, path)]


def _value(text: str) -> object:
    if text.startswith("{"):
        return {key.strip("\"'"): value[1:-1] for key, value in _INNER.findall(text)}
    return text.strip("\"'")


def settings(values: Table) -> tuple[str, ...]:
    """``-c KEY=VALUE`` for each; codex merges tables with what its files say."""
    return tuple(part for key in values for part in ("-c", f"{key}={inline(values[key])}"))


def inline(value: object) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{inline(k)}={inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(inline, value)) + "]"
    return '"' + _SPECIAL.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value)) + '"'


_SPECIAL = re.compile(r'[\x00-\x1f\x7f"\\]')
