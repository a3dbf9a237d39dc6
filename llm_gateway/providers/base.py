"""What a provider is: the description of one vendor's CLI.

A provider says how a request becomes an invocation and how the CLI's output becomes events. It
knows no SQLite, no llm and no process: everything here can be tested with a dictionary and bytes.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import (
    AuthFailed,
    CliError,
    GatewayError,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RejectedInput,
)
from ..policy.child_env import VendorVariables, child_environment, sure_places
from ..records import record
from ..request import Access, Invocation, Options, Request, SessionPlan, Turn, system_digest
from .catalogue import Catalogue
from .parsing import Parser
from .upkeep import Upkeep

if TYPE_CHECKING:
    from . import mcp
    from .stored import StoredSession

__all__ = [
    "SHARED_OPTIONS",
    "Launch",
    "Level",
    "Phrases",
    "Provider",
    "attached_files",
    "count",
    "error_for_status",
    "flag",
    "matched",
    "private_file",
    "quoted_prompt",
    "tool_base",
    "with_new_system",
]

SHARED_OPTIONS = frozenset(
    {
        *("model", "access", "cwd", "timeout", "idle_timeout", "retry_wait"),
        *("retries", "ignore_breaker", "reuse", "force_refresh", "durable"),
        *("session", "session_id", "create_new_session", "correlation_id", "trust_workspace"),
        *("mcp_servers", "strict_mcp_config", "approval_strategy", "approval_policy"),
        *("optimize_prompt", "optimize_response"),
    }
)


@record(frozen=True)
class Level:
    """How one CLI is held at one access level: its flags, and what they were seen to allow."""

    argv: tuple[str, ...]
    allows: str
    tools: tuple[str, ...] = ()


@record(frozen=True)
class Launch:
    """What the gateway knows when it asks a provider for an invocation.

    :param executable: absolute path of the CLI.
    :param env: the child's environment, already reduced.
    :param environ: the asker's own environment, for the provider to read, never to hand on.
    :param make_files: gives the directory of ``files``, always the same.
    :param state: the gateway's own directory.
    """

    executable: str
    env: dict[str, str]
    environ: Mapping[str, str]
    cwd: str
    access: Access
    session: SessionPlan
    make_files: Callable[[], Path]
    state: Path

    @property
    def files(self) -> Path:
        """A private directory (0700) for this run's temporary files, made when it is needed."""
        return self.make_files()


class Provider(ABC):
    """One vendor CLI. Subclass it, fill in the class attributes and the two methods."""

    name: ClassVar[str]
    title: ClassVar[str]
    command: ClassVar[str]
    install: ClassVar[str]
    login: ClassVar[str]
    levels: ClassVar[Mapping[Access, Level]]
    options: ClassVar[frozenset[str]] = SHARED_OPTIONS
    native_words: ClassVar[Mapping[str, Mapping[str, Access]]] = {}
    tool_names: ClassVar[frozenset[str]] = frozenset()
    # What only reads files of the workspace; an answer that used anything else is not given again.
    workspace_tools: ClassVar[frozenset[str]] = frozenset()
    variables: ClassVar[VendorVariables] = VendorVariables()
    attachment_types: ClassVar[frozenset[str]] = frozenset()
    supports_schema: ClassVar[bool] = True
    # The variable that names its configuration directory, and where that is without it.
    config_place: ClassVar[tuple[str, str]] = ("", "")
    install_places: ClassVar[tuple[str, ...]] = ()
    streams_text: ClassVar[bool] = True
    chooses_session_id: ClassVar[bool] = True
    can_fork: ClassVar[bool] = True
    chooses_fork_id: ClassVar[bool] = True
    forks_at_message: ClassVar[bool] = False
    resumes_anywhere: ClassVar[bool] = True
    prompt_limit: ClassVar[int | None] = None
    efforts: ClassVar[tuple[str, ...]] = ()
    catalogue: ClassVar[Catalogue] = Catalogue()
    upkeep: ClassVar[Upkeep] = Upkeep()
    # How it names the tools of MCP servers: what is before the server's name, and after it. None
    # where the gateway cannot choose its servers; ``no_mcp`` says why.
    mcp_names: ClassVar[tuple[str, str] | None] = None
    no_mcp: ClassVar[str] = "takes no MCP servers from the gateway"
    # For the documentation: what cannot be read off the other attributes.
    notes: ClassVar[Mapping[str, str]] = {}
    idle_timeout: ClassVar[float] = 600.0
    tool_idle_timeout: ClassVar[float] = 3600.0

    @abstractmethod
    def plan(self, request: Request, launch: Launch) -> Invocation:
        """Turn a request into argv, stdin, environment and temporary files."""

    @abstractmethod
    def parser(self, request: Request, invocation: Invocation) -> Parser:
        """Return a fresh parser for the output of that invocation."""

    def seen_models(self) -> Iterable[tuple[str, str, str]]:
        """Return the models that the CLI's own history has: name, where, and on which day."""
        return ()

    def key_names(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Return the variables with which this user needs no login."""
        return self.upkeep.keys

    def environment_names(self, environ: Mapping[str, str]) -> VendorVariables:
        """Return which variables are the vendor's own for this user; ``variables`` for most."""
        return self.variables

    def environment(
        self, environ: Mapping[str, str], access: Access, pass_env: Iterable[str]
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the CLI's environment, and the names of the secrets that it does not get.

        :param pass_env: further names, which the settings have.
        """
        return child_environment(environ, self.environment_names(environ), access, pass_env)

    def config_dir(self, env: Mapping[str, str]) -> str:
        """Return where the CLI keeps its login and settings; empty where it has no such place."""
        variable, place = self.config_place
        home = env.get("HOME", os.path.expanduser("~"))
        named = env.get(variable) or place.replace("~", home, 1)
        return os.path.abspath(named) if named else ""

    def stored_sessions(self, environ: Mapping[str, str]) -> Iterator[StoredSession] | None:
        """Return the sessions that the CLI keeps for this user, newest first; None: not known."""
        return None

    def check(self, request: Request, access: Access) -> None:
        """Refuse what this CLI cannot be asked, before anything is spawned."""
        self._check_words(request.options, access)
        self._check_tools(request.options, access)
        self._check_servers(request, access)
        self._check_effort(request.options.effort)

    def servers(self, options: Options, environ: Mapping[str, str]) -> mcp.Definitions:
        """Return the MCP servers that a prompt names, as they are defined.

        :raises InvalidInput: where the CLI cannot be told, or does not have one of them.
        """
        if options.mcp_servers or options.strict_mcp_config:
            raise InvalidInput(f"{self.title} {self.no_mcp}.")
        return {}

    def with_servers(self, env: dict[str, str], request: Request, launch: Launch) -> dict[str, str]:
        """Add to the child's environment what its MCP servers' definitions name."""
        if not request.servers:
            return env
        from . import mcp

        return {
            **mcp.handed_on(self.servers(request.options, launch.environ), launch.environ),
            **env,
        }

    def find_executable(self, environ: Mapping[str, str], override: str | None) -> str | None:
        """Return the CLI's absolute path: the override, PATH, then the usual install places."""
        if override:
            return _executable(os.path.expanduser(override), environ)
        found = _executable(self.command, environ)
        home = environ.get("HOME", os.path.expanduser("~"))
        for place in (*self.install_places, *INSTALL_PLACES):
            if found:
                break
            found = _newest(place.replace("~", home, 1), self.command)
        return found

    def _check_words(self, options: Options, access: Access) -> None:
        for word, levels in self.native_words.items():
            value = options.native.get(word)
            if value is None:
                continue
            needs = levels.get(value)
            if needs is None:
                known = ", ".join(levels)
                raise InvalidInput(f"{word} {value!r} is not one of {known}.")
            if needs.rank > access.rank:
                raise PermissionDenied(
                    f"{word} {value} is wider than access {access.value}; "
                    f"ask for it with -o access {needs.value}."
                )

    def _check_tools(self, options: Options, access: Access) -> None:
        named = {*(options.allowed_tools or ()), *(options.disallowed_tools or ())}
        for tool in sorted(named):
            base = tool_base(tool)
            if self.tool_names and base not in self.tool_names and not base.startswith(MCP_TOOL):
                raise InvalidInput(
                    f"{self.title} has no tool named {base!r}; it has "
                    f"{', '.join(sorted(self.tool_names))}."
                )
            if "(" in tool and not RULE.match(tool):
                raise InvalidInput(f"{tool!r} is not one rule for one tool, its pattern in (…).")
        for tool in options.allowed_tools or ():
            if not tool.startswith(MCP_TOOL):
                self._check_tool_level(tool, access)
        for tool in options.disallowed_tools or ():
            if tool.startswith(MCP_TOOL):
                self._check_server_rule(tool)

    def _check_server_rule(self, tool: str) -> None:
        """Refuse what is no name of a server's tool: a CLI takes nothing away for it."""
        prefix, between = self.mcp_names or CLAUDES
        server = tool.removeprefix(prefix).partition(between)[0]
        if not tool.startswith(prefix) or not server or "(" in tool:
            raise InvalidInput(
                f"{self.title} ignores {tool!r}: it knows the tools of MCP servers as "
                f"{prefix}SERVER{between}TOOL, all of one as {prefix}SERVER{between}*."
            )

    def _check_servers(self, request: Request, access: Access) -> None:
        """Below full a tool of an MCP server needs its own name, and its server's."""
        tools = [t for t in request.options.allowed_tools or () if t.startswith(MCP_TOOL)]
        if tools and access is not Access.FULL:
            from . import mcp

            prefix, between = self.mcp_names or (MCP_TOOL, "_")
            mcp.check_tools(tools, request.servers, prefix, between)

    def _check_tool_level(self, tool: str, access: Access) -> None:
        allowed = self.levels[access].tools
        if access is Access.FULL or tool_base(tool) in allowed:
            return
        wider = next(
            (a for a in (Access.EDIT, Access.FULL) if tool_base(tool) in self.levels[a].tools),
            Access.FULL,
        )
        raise PermissionDenied(
            f"The tool {tool} is wider than access {access.value}; "
            f"ask for it with -o access {wider.value}."
        )

    def _check_effort(self, effort: str | None) -> None:
        if effort is not None and self.efforts and effort not in self.efforts:
            raise InvalidInput(f"effort {effort!r} is not one of {', '.join(self.efforts)}.")


MCP_TOOL = "mcp_"
CLAUDES = ("mcp__", "__")
RULE = re.compile(r"[^()\s]+\(.+\)\Z", re.DOTALL)
INSTALL_PLACES = (
    "~/.local/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "~/.npm-global/bin",
    "~/.bun/bin",
    "~/.volta/bin",
    "~/.nvm/versions/node/*/bin",
)


def _executable(command: str, environ: Mapping[str, str]) -> str | None:
    """What a shell would start, from a place that is sure; a path is looked at as it is."""
    places = sure_places(environ.get("PATH", os.defpath)).split(os.pathsep)
    for place in [""] if os.path.dirname(command) else filter(None, places):
        found = os.path.join(place, command)
        if os.access(found, os.X_OK) and not os.path.isdir(found):
            return os.path.abspath(found)
    return None


def _newest(place: str, command: str) -> str | None:
    import glob

    found = [p for p in glob.glob(os.path.join(place, command)) if os.access(p, os.X_OK)]
    return max(found, key=_version_order) if found else None


def _version_order(path: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", path)]


def tool_base(rule: str) -> str:
    """``Bash(git log:*)`` → ``Bash``."""
    return rule.split("(", 1)[0].strip()


def error_for_status(status: int) -> type[GatewayError]:
    """Return the error that an HTTP status of a vendor's API means."""
    table: dict[int, type[GatewayError]] = {
        400: RejectedInput,
        401: AuthFailed,
        403: AuthFailed,
        404: ModelNotFound,
        413: RejectedInput,
        422: RejectedInput,
        429: RateLimited,
    }
    return table.get(status, Overloaded if status >= 500 else CliError)


Phrases = Sequence[tuple[str, type[GatewayError], str]]


def matched(phrases: Phrases, text: str, **words: str) -> GatewayError | None:
    """Return the error of the first phrase (a regular expression) that a CLI's text contains.

    Its message may name groups of the expression, ``{text}`` and what is in ``words``.
    """
    for pattern, kind, message in phrases:
        if found := re.search(pattern, text):
            groups = {name: value or "" for name, value in found.groupdict().items()}
            return kind(message.format(text=text, **words, **groups))
    return None


def flag(name: str, value: object) -> tuple[str, ...]:
    """``("--model", "opus")``, or nothing where there is no value."""
    return () if value is None else (name, str(value))


def count(data: Mapping[str, Any], key: str) -> int:
    """Return a token count; 0 where the CLI left it out."""
    return int(data.get(key) or 0)


def private_file(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file of this run that nobody else can read, and return its path."""
    path = folder / name
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return path


def attached_files(request: Request, launch: Launch) -> list[Path]:
    """Return the attachments as files: where they are, or copies in the run's own folder."""
    paths = []
    for number, attachment in enumerate(request.attachments):
        if attachment.path is None:
            kind = attachment.type.partition("/")[2].partition("+")[0]
            path = private_file(launch.files, f"attachment-{number}.{kind}", attachment.bytes())
        else:
            path = Path(attachment.path).absolute()
        paths.append(path)
    return paths


def quoted_prompt(prompt: str, quoted: Iterable[Turn]) -> str:
    """Put what the vendor's session has not seen before the new prompt."""
    turns = [turn for turn in quoted if turn.text]
    if not turns:
        return prompt
    lines = "\n\n".join(f"<{t.role}>\n{t.text}\n</{t.role}>" for t in turns)
    return (
        "Earlier in this conversation, before you took it over:\n\n"
        f"<transcript>\n{lines}\n</transcript>\n\n"
        f"The user now says:\n\n{prompt}"
    )


def with_new_system(prompt: str, request: Request, session: SessionPlan) -> str:
    """Put a system prompt that the session has not seen before the prompt.

    For CLIs whose sessions keep the one they began with, whatever a later turn says.
    """
    known = session.kind == "new" or system_digest(request.system) == session.system_before
    if known or not request.system:
        return prompt
    return (
        "These instructions hold from now on, in place of earlier ones:\n\n"
        f"<instructions>\n{request.system}\n</instructions>\n\n{prompt}"
    )
