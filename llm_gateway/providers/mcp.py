"""MCP servers that a prompt names: what they are, which of their tools may run, and their secrets.

A server is a program or an address that the user has configured for the vendor's CLI, or that a
file outside the workspace describes. It runs with the user's rights, outside every sandbox, so
below ``full`` none of its tools runs unless the prompt names that tool.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidInput, PermissionDenied
from ..policy.redact import redact_argv
from ..request import Options
from .instructions import workspace_root

__all__ = [
    "Definitions",
    "check_tools",
    "digests",
    "handed_on",
    "is_file",
    "named",
    "own_servers",
    "tools_of",
    "without_secrets",
]

Definitions = Mapping[str, Mapping[str, Any]]
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"
# Where a definition keeps what nobody else should see.
SECRET_TABLES = ("env", "headers", "http_headers")
NAMES_OF_VARIABLES = ("env_vars", "bearer_token_env_var", "env_http_headers")
OURS = "LLM_GATEWAY_"
TOOL = r"[A-Za-z0-9_.-]+\Z"
_VARIABLE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]{0,1000})?\}"
_MENTIONED = r"\$\{?([A-Za-z_][A-Za-z0-9_]*)"  # gemini needs no braces
_WHOLE_VARIABLE = r"(?:[A-Za-z]+ )?\$\{[A-Za-z_][A-Za-z0-9_]*\}\Z"
LARGEST_FILE = 1024 * 1024


def named(words: Sequence[str], own: Definitions, where: str, options: Options) -> Definitions:
    """Return the servers that a prompt names, in its order, each once.

    :param own: the user's own. :param where: what to call the place where these are.
    :raises InvalidInput: for one that is not there. :raises PermissionDenied: for the workspace's.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for word in words:
        if is_file(word):
            found |= _read_file(word, options)
            continue
        if word not in own:
            known = f"it has {', '.join(sorted(own))}" if own else "it has none"
            raise InvalidInput(f"There is no MCP server named {word!r} in {where}; {known}.")
        found[word] = own[word]
    for name, definition in found.items():
        _check(name, definition)
    return found


def is_file(word: str) -> bool:
    """Whether a word of ``mcp_servers`` is a path and no name."""
    return "/" in word or word.lower().endswith((".json", ".toml"))


def _read_file(word: str, options: Options) -> Definitions:
    """Return the servers that a JSON or TOML file describes."""
    cwd = os.path.abspath(options.cwd or "")
    path = os.path.join(cwd, os.path.expanduser(word))
    if not options.trust_workspace and _in_workspace(path, cwd):
        raise PermissionDenied(
            f"{word} is a file of the workspace, and a server of it would run at every access "
            "level; move it, or trust the workspace with -o trust_workspace 1."
        )
    if os.path.exists(path) and not os.path.isfile(path):
        raise InvalidInput(f"The MCP servers of {word} cannot be read: it is no file.")
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST_FILE).decode()
        data = _parsed(text, path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"The MCP servers of {word} cannot be read: {reason}.") from None
    servers = _servers_of(data)
    if servers is None:
        raise InvalidInput(f"{word} describes no MCP servers: it has no table mcpServers.")
    return servers


def own_servers(path: Path) -> Definitions:
    """Return the servers of the user's own file; none where there is no such file."""
    try:
        data = _parsed(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"The MCP servers of {path} cannot be read: {error}.") from None
    return _servers_of(data) or {}


def _in_workspace(path: str, cwd: str) -> bool:
    """Whether a file lies in the workspace, by its name or behind links."""
    root = workspace_root(cwd)
    written = Path(os.path.normpath(os.path.join(os.path.realpath(cwd), path)))
    folder = Path(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    places = (written, folder, Path(os.path.realpath(path)))
    return any(place.is_relative_to(root) for place in places)


def _parsed(text: str, path: str) -> Any:
    if path.lower().endswith(".toml"):
        from ..settings_file import toml

        return toml(text)
    return json.loads(text)


def _servers_of(data: Any) -> dict[str, Any] | None:
    tables = (data.get(key) for key in ("mcpServers", "mcp_servers")) if _is_table(data) else ()
    return next((dict(table) for table in tables if _is_table(table)), None)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _check(name: str, definition: object) -> None:
    if not re.match(NAME, name):
        raise InvalidInput(
            f"{name!r} cannot be the name of an MCP server here: letters, digits, - and _ can."
        )
    told = definition if isinstance(definition, Mapping) else {}
    if not any(isinstance(told.get(key), str) and told[key] for key in ("command", "url")):
        raise InvalidInput(f"The MCP server {name} has neither a command nor a url.")


def digests(servers: Definitions, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what tells each server from another one of its name, its variables included."""
    return {name: _digest(servers[name], environ) for name in servers}


def _digest(definition: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    told = json.dumps([definition, handed_on(definition, environ)], sort_keys=True, default=str)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def handed_on(value: object, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that definitions name: the user has named them for the server.

    The gateway's own are never among them: they say what the agent may do.
    """
    names = {found[1] for text in _texts(value) for found in re.finditer(_MENTIONED, text)}
    names |= set(_listed(value))
    return {n: environ[n] for n in sorted(names) if n in environ and not n.startswith(OURS)}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _listed(value: object) -> Iterator[str]:
    """Yield the variables that a definition names without a mark, as codex's do."""
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if key in NAMES_OF_VARIABLES:
            yield from _texts(item)
        elif isinstance(item, Mapping):
            yield from _listed(item)


def without_secrets(
    servers: Definitions, environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the definitions with variables in place of secrets, and those variables.

    What stands in an environment or in headers counts as one, and what looks like one elsewhere.
    """
    variables = handed_on(servers, environ)
    told = {}
    for name, definition in servers.items():
        shown = dict(definition)
        for key, value in definition.items():
            if key in SECRET_TABLES and isinstance(value, Mapping):
                shown[key] = {k: _hidden(v, variables) for k, v in value.items()}
            elif isinstance(value, str):
                shown[key] = _shown([value], variables)[0]
            elif isinstance(value, list) and all(isinstance(v, str) for v in value):
                shown[key] = _shown(value, variables)
        told[name] = shown
    return told, variables


def _shown(words: list[str], variables: dict[str, str]) -> list[str]:
    clean = redact_argv(words)
    return [
        word if word == same else _hidden(word, variables)
        for word, same in zip(words, clean, strict=True)
    ]


def _hidden(value: object, variables: dict[str, str]) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if re.match(_WHOLE_VARIABLE, text):
        return text

    def expanded(found: re.Match[str]) -> str:  # the CLI does not expand what an expansion gives
        return variables.get(found[1], (found[2] or "").removeprefix(":-"))

    name = f"GATEWAY_MCP_{len(variables)}"
    variables[name] = re.sub(_VARIABLE, expanded, text)
    return "${" + name + "}"


def check_tools(tools: Iterable[str], servers: Iterable[str], prefix: str, between: str) -> None:
    """Refuse a tool of a server that the prompt does not name, and a pattern for tools.

    :param prefix: and ``between``: how the CLI makes a tool's name of its server's and its own.
    """
    known = tuple(servers)
    for tool in tools:
        start = next((s for n in known if tool.startswith(s := f"{prefix}{n}{between}")), None)
        if start is None:
            raise PermissionDenied(
                f"The tool {tool} is of no server that mcp_servers names; name its server there, "
                "or ask for it with -o access full."
            )
        if not re.match(TOOL, tool[len(start) :]):
            raise InvalidInput(f"{tool} is not the whole name of one tool: {start}TOOL.")


def tools_of(server: str, tools: Iterable[str], prefix: str, between: str) -> list[str]:
    """Return the tools of one server among those that a prompt names, by the server's own names."""
    start = f"{prefix}{server}{between}"
    return [tool[len(start) :] for tool in tools if tool.startswith(start)]
