"""Codex: its flags, its sandbox, its sessions. What it prints is read in ``codex_output``.

Facts seen on codex 0.169.0. The kernel's sandbox holds each access level, and only where it is
asked for on every turn: a resumed or forked session falls back to codex's own defaults.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..policy.child_env import VendorVariables
from ..records import replace
from ..request import Access, Invocation, Options, Request, SessionPlan
from .base import (
    SHARED_OPTIONS,
    Launch,
    Level,
    Provider,
    attached_files,
    quoted_prompt,
    with_new_system,
)
from .codex_config import SYSTEM, CodexConfig, codex_config, inline, settings, user_file
from .codex_output import CodexParser
from .codex_upkeep import CATALOGUE, UPKEEP
from .instructions import workspace_instructions, workspace_root

if TYPE_CHECKING:
    from . import mcp
    from .stored import StoredSession

__all__ = ["Codex"]

PROMPT_CHARACTERS = 1_048_576
ARGUMENT_LIMIT = 131_071
MARGIN = 100
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SEARCHED_BY_STRICT_MODE = ("properties", "$defs", "definitions", "patternProperties")

# Rules that a person made with "always allow" run their command outside the sandbox.
CONFINED = ("--ignore-rules", *settings({"web_search": "disabled"}))
LEVELS = {
    Access.READ: Level(
        ("--sandbox", "read-only", *CONFINED),
        "reads every file that you may read, outside the workspace too, and runs shell commands "
        "that can write nothing and reach no network; no web search, no plugins, no MCP tools but "
        "named ones",
    ),
    Access.EDIT: Level(
        (
            *("--sandbox", "workspace-write", *CONFINED),
            *settings(
                {
                    "sandbox_workspace_write.network_access": False,
                    "sandbox_workspace_write.writable_roots": [],
                    "sandbox_workspace_write.exclude_slash_tmp": True,
                    "sandbox_workspace_write.exclude_tmpdir_env_var": True,
                }
            ),
        ),
        "also writes in the workspace and add_dirs, by shell commands as well; not in .git, "
        ".codex or the temporary directory; no network",
    ),
    Access.FULL: Level(
        ("--sandbox", "danger-full-access"),
        "everything you may do, without a sandbox; your codex rules, MCP servers and plugins hold",
    ),
}
# Plugins and apps bring servers of their own, which run outside the sandbox.
NO_PLUGINS = {"features.plugins": False, "features.apps": False}
INSTRUCTIONS = ("AGENTS.override.md", "AGENTS.md")
SUBCOMMANDS = {"resume": ("resume",), "fork": ("fork",), "latest": ("resume", "--last")}


class Codex(Provider):
    name = "codex"
    title = "Codex"
    command = "codex"
    config_place = ("CODEX_HOME", "~/.codex")
    install = "npm install -g @openai/codex"
    login = "codex login, or set CODEX_API_KEY"
    levels = LEVELS
    options = SHARED_OPTIONS | {"add_dirs", "resume_latest", "effort", "sandbox", "allowed_tools"}
    mcp_names = ("mcp__", "__")
    native_words = {
        "sandbox": {
            "read-only": Access.READ,
            "workspace-write": Access.EDIT,
            "danger-full-access": Access.FULL,
        }
    }
    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
    attachment_types = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
    streams_text = False
    notes = {
        "reasoning": "shown; so are all messages but the last",
        "system prompt": "as developer instructions; a later one goes before the prompt",
        "schema": "native; objects are closed and all properties required, as its API wants",
        "usage": "tokens, cache, reasoning; no cost",
        "stop reason": "not told",
        "own retries": "told one by one; stopped after retry_wait",
        "MCP servers": "by name, yours; below full no tool but those that allowed_tools names",
        "longest prompt": "1,048,576 characters",
    }
    catalogue = CATALOGUE
    upkeep = UPKEEP
    chooses_session_id = False
    chooses_fork_id = False
    # It prints whole items, so long thinking is long silence.
    idle_timeout = 1800.0
    variables = VendorVariables(
        names=("CODEX_*", "OPENAI_*"),
        without=(
            *("CODEX_THREAD_ID", "CODEX_SESSION_ID", "CODEX_TOOL_CALL_ID", "CODEX_CI"),
            *("CODEX_VERSION", "CODEX_STARTING_DIFF"),
        ),
    )

    def environment_names(self, environ: Mapping[str, str]) -> VendorVariables:
        """Add what the user's own model provider takes its key from."""
        own = self.variables
        return replace(own, names=(*own.names, *codex_config(environ).variables))

    def key_names(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Add what the user's own model provider takes its key from."""
        return (*self.upkeep.keys, *codex_config(environ).variables)

    def check(self, request: Request, access: Access) -> None:
        tools = request.options.allowed_tools
        if tools is not None and not (tools and all(t.startswith("mcp__") for t in tools)):
            raise InvalidInput(
                "Codex has no choice of its own tools; allowed_tools takes those of MCP servers, "
                "as mcp__SERVER__TOOL."
            )
        super().check(request, access)
        named = request.options.session_id
        if named is not None and not UUID.fullmatch(named):
            raise InvalidInput(
                f"{named!r} is not the id of a codex session (a UUID in lower case); "
                "codex would start a new one without a word."
            )

    def servers(self, options: Options, environ: Mapping[str, str]) -> mcp.Definitions:
        words = options.mcp_servers
        if not words:
            return {}
        from . import mcp

        if files := [word for word in words if mcp.is_file(word)]:
            raise InvalidInput(
                f"Codex takes MCP servers by name, from its own config.toml; not from {files[0]}."
            )
        path = user_file(environ)
        own = {**mcp.own_servers(SYSTEM), **mcp.own_servers(path)}
        return mcp.named(words, own, str(path), options)

    def plan(self, request: Request, launch: Launch) -> Invocation:
        o, session = request.options, launch.session
        level = self.native_words["sandbox"].get(o.native.get("sandbox", ""), launch.access)
        argv = [
            *(launch.executable, "exec", *LEVELS[level].argv),
            *settings(self._settings(request, launch, level)),
            *([f"--model={o.model}"] if o.model else []),
            *(_writable(request, launch.cwd) if level is Access.EDIT else ()),
            *SUBCOMMANDS.get(session.kind, ()),
            *("--json", "--skip-git-repo-check"),
            *_schema(request.schema, launch),
            *_images(request, launch),
            *([session.session_id] if session.session_id else []),
            "-",
        ]
        return Invocation(
            argv=tuple(argv),
            stdin=_prompt(request, session).encode(),
            env=self.with_servers(launch.env, request, launch),
            cwd=launch.cwd,
            access=launch.access,
            session=session,
        )

    def _settings(self, request: Request, launch: Launch, level: Access) -> dict[str, object]:
        o, config = request.options, codex_config(launch.environ)
        trusted = bool(o.trust_workspace)
        values: dict[str, object] = {
            "projects": _projects(launch.cwd, trusted),
            "shell_environment_policy": self._shell_environment(launch),
        }
        held = level is not Access.FULL
        if held and not trusted:
            values |= NO_PLUGINS
        only = (held and not trusted) or bool(o.strict_mcp_config) or o.mcp_servers == ()
        if servers := _servers(request, config.servers if only else (), held):
            values["mcp_servers"] = servers
        if o.effort:
            values["model_reasoning_effort"] = o.effort
        files = () if trusted else (*INSTRUCTIONS, *config.instructions)
        text = workspace_instructions(launch.cwd, files, one=True)
        if system := _system(request.system or "", text):
            values["developer_instructions"] = system
        return values

    def _shell_environment(self, launch: Launch) -> dict[str, object]:
        """Show the agent's shell commands all that we pass on but codex's own keys."""
        own = self.environment_names(launch.environ)
        shown = sorted(name for name in launch.env if not own.pass_(name, launch.environ))
        return {"inherit": "all", "include_only": shown}

    def stored_sessions(self, environ: Mapping[str, str]) -> Iterator[StoredSession]:
        from . import stored

        return stored.codex(Path(self.config_dir(environ)))

    def parser(self, request: Request, invocation: Invocation) -> CodexParser:
        parser = CodexParser()
        parser.model = _model(request, codex_config(invocation.env))
        parser.confined = "danger-full-access" not in invocation.argv
        session = invocation.session
        parser.usage_before = {} if session.kind == "new" else session.usage_before
        return parser


def _model(request: Request, config: CodexConfig) -> str | None:
    """Codex never says which model answered; a trusted workspace may name another one."""
    return request.options.model or (None if request.options.trust_workspace else config.model)


def _projects(cwd: str, trusted: bool) -> dict[str, dict[str, str]]:
    """Say for the workspace whether its settings count, whatever the user's file says.

    A ``.codex`` counts in each directory from the top of the repository down to the workspace,
    by the trust in that directory, so that pinning the top alone leaves a way in.
    """
    here, top = Path(cwd).resolve(), workspace_root(cwd)
    word = "trusted" if trusted else "untrusted"
    places = [p for p in (here, *here.parents) if not trusted or p.is_relative_to(top)]
    return {str(place): {"trust_level": word} for place in places}


def _servers(request: Request, others: Iterable[str], held: bool) -> dict[str, object]:
    """Switch servers off, and on those that the prompt names; codex knows each from its own files.

    Below full only tools that the prompt names are there: codex itself would run what a server
    calls read-only, and whatever the user's file approves.
    """
    servers: dict[str, object] = {name: {"enabled": False} for name in others}
    if not request.servers:
        return servers
    from . import mcp

    for name in request.servers:
        tools = mcp.tools_of(name, request.options.allowed_tools or (), *Codex.mcp_names)
        only = {"enabled_tools": tools, "default_tools_approval_mode": "approve"} if held else {}
        servers[name] = {"enabled": True, **only}
    return servers


def _writable(request: Request, cwd: str) -> Iterator[str]:
    for folder in request.options.add_dirs or ():
        yield f"--add-dir={os.path.join(cwd, os.path.expanduser(folder))}"


def _system(system: str, instructions: str) -> str:
    """Join what the user and what the workspace says: codex skips an untrusted workspace's files.

    A session keeps what it began with; this is said on every turn for when codex summarises it.
    """
    if len(inline(system).encode()) > ARGUMENT_LIMIT - MARGIN:
        raise InvalidInput("The system prompt is longer than the 128 KiB that codex takes.")
    both = "\n\n".join(filter(None, (system, instructions)))
    return both if len(inline(both).encode()) <= ARGUMENT_LIMIT - MARGIN else system


def _prompt(request: Request, session: SessionPlan) -> str:
    prompt = quoted_prompt(request.prompt, session.quoted)
    prompt = with_new_system(prompt, request, session)
    if len(prompt) > PROMPT_CHARACTERS:
        raise InvalidInput(
            f"The prompt has {len(prompt):,} characters; codex takes at most {PROMPT_CHARACTERS:,}."
        )
    return prompt if prompt.strip() else "See the attached image."


def _images(request: Request, launch: Launch) -> Iterator[str]:
    for number, path in enumerate(attached_files(request, launch)):
        # A comma separates the paths of several images.
        if "," in str(path):
            link = launch.files / f"image-{number}"
            link.symlink_to(path)
            path = link
        yield f"--image={path}"


def _schema(schema: Mapping[str, Any] | None, launch: Launch) -> tuple[str, ...]:
    if schema is None:
        return ()
    path = launch.files / "schema.json"
    path.write_text(json.dumps(strict(schema)), encoding="utf-8")
    return (f"--output-schema={path}",)


def strict(schema: Any) -> Any:
    """Return the schema as OpenAI takes it: objects closed, all of their properties required.

    What fits that fits the original as well.
    """
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    result = {key: _strict_part(key, value) for key, value in schema.items() if key != "default"}
    if isinstance(result.get("properties"), dict):
        result |= {"additionalProperties": False, "required": list(result["properties"])}
    return result


def _strict_part(key: str, value: Any) -> Any:
    if key in ("enum", "const", "examples"):
        return value
    if key in SEARCHED_BY_STRICT_MODE and isinstance(value, Mapping):
        return {name: strict(part) for name, part in value.items()}
    return strict(value)
