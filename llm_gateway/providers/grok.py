"""Grok: its flags and its prompt. Facts seen on grok 1.0.41.

What it prints is read in ``grok_output``; what holds its access levels is in ``grok_rules``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, SessionLost
from ..policy.child_env import VendorVariables
from ..records import replace
from ..request import Access, Invocation, Request, SessionPlan
from . import grok_rules
from .base import SHARED_OPTIONS, Launch, Provider, flag, quoted_prompt, tool_base, with_new_system
from .features import packaged_version
from .grok_output import LOG_FILTER, LOGIN, TITLE, GrokParser
from .grok_upkeep import CATALOGUE, UPKEEP
from .instructions import workspace_instructions

if TYPE_CHECKING:
    from .stored import StoredSession

__all__ = ["Grok"]

ARGUMENT_LIMIT = 131_071
PROMPT_LIMIT = 1_048_576
INSTRUCTIONS = (
    *("Agents.md", "Claude.md", "CLAUDE.md", "CLAUDE.local.md", "AGENT.md", "AGENTS.md"),
    ".claude/CLAUDE.md",
)
# It opens files with the suffix of their kind, text without looking at it.
SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
    "text/plain": "txt",
}
# A request that fails is asked once more, two seconds later: a second time would not be told on
# stderr, and what it streams would be appended to what a broken stream had left. Without the
# switch it goes on for ever. Also off: calls of the model that nobody asked for.
ENVIRONMENT = {
    "GROK_MAX_RETRIES": "2",
    "GROK_TURN_TRANSIENT_RETRY": "0",
    "GROK_TURN_SUMMARY": "0",
    "GROK_TITLE_REFRESH": "0",
    "GROK_DISABLE_AUTOUPDATER": "1",
    "RUST_LOG": LOG_FILTER,
}


class Grok(Provider):
    """A new session costs one hidden call of the model, for its title; usage leaves it out."""

    name = "grok"
    title = TITLE
    command = "grok"
    config_place = ("GROK_HOME", "~/.grok")
    install = "npm install -g @xai-official/grok"
    login = LOGIN
    levels = grok_rules.LEVELS
    options = SHARED_OPTIONS | {
        *("add_dirs", "resume_latest", "allowed_tools", "disallowed_tools"),
        *("effort", "max_turns", "permission_mode"),
    }
    native_words = {
        "permission_mode": {
            "default": Access.READ,
            "dontAsk": Access.READ,
            "plan": Access.READ,
            "acceptEdits": Access.EDIT,
            "auto": Access.EDIT,
            "bypassPermissions": Access.FULL,
        }
    }
    catalogue = CATALOGUE
    upkeep = UPKEEP
    no_mcp = (
        "has no flag that chooses MCP servers: all of yours start at every access level, and their "
        "tools run at full"
    )
    tool_names = frozenset(grok_rules.TOOL_IDS) | grok_rules.RULES
    workspace_tools = frozenset(grok_rules.READ_TOOLS)
    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    attachment_types = frozenset(SUFFIXES)
    install_places = ("~/.grok/bin",)
    prompt_limit = PROMPT_LIMIT
    notes = {
        "reasoning": "shown",
        "system prompt": "as rules; a later one goes before the prompt",
        "schema": "native",
        "usage": "tokens, cache, reasoning; cost where the server states it",
        "stop reason": "told",
        "own retries": "one; the wait is bounded by retry_wait",
        "MCP servers": "all of yours start; their tools run at full only",
    }
    variables = VendorVariables(
        names=("XAI_*", "GROK_*"),
        # Trust is ours to give; a log file would take the retries from stderr; the rest belongs to
        # a grok that runs this command.
        without=(
            *("GROK_FOLDER_TRUST", "GROK_LOG_FILE", "GROK_AGENT", "GROK_AGENT_ID"),
            *("GROK_SESSION_ID", "GROK_HOOK_EVENT", "GROK_HOOK_NAME", "GROK_WORKSPACE_ROOT"),
            *("GROK_PLUGIN_ROOT", "GROK_PLUGIN_DATA", "GROK_LEADER_SOCKET"),
        ),
    )

    def check(self, request: Request, access: Access) -> None:
        rules = [t for t in request.options.allowed_tools or () if tool_base(t) in grok_rules.RULES]
        if rules:
            raise InvalidInput(f"{rules[0]} is a rule of grok's; allowed_tools takes its tools.")
        super().check(request, access)
        grok_rules.check_rules(request.options)

    def plan(self, request: Request, launch: Launch) -> Invocation:
        o, cwd = request.options, os.path.realpath(launch.cwd)
        home = _home(launch.env)
        trusted = bool(o.trust_workspace)
        if not trusted and launch.access is not Access.FULL:
            grok_rules.refuse_trusted_folder(cwd, home)
        _look_for(launch.session, home)
        attached = _attached(request, launch)
        writable = [cwd, *_real(o.add_dirs or (), cwd)]
        readable = [*writable, *_real((home / "skills",), cwd)]
        readable += [os.path.realpath(launch.files)] if attached else []
        argv = [
            *(launch.executable, "--prompt-file", "/dev/stdin", "--verbatim"),
            *("--output-format", "streaming-messages-json", "--include-partial-messages"),
            *("--cwd", cwd),
            *grok_rules.access_argv(request, launch.access, readable, writable),
            *_session(launch.session),
            *flag("--model", o.model),
            *flag("--effort", o.effort),
            *flag("--max-turns", o.max_turns),
            *_rules(request, launch.session, cwd),
            *_schema(request.schema),
        ]
        text = _prompt(request, launch, attached, readable)
        trust = {"GROK_FOLDER_TRUST": "0" if trusted else "1"}
        return Invocation(
            argv=tuple(argv),
            stdin=text.encode("utf-8", "replace"),
            env={**launch.env, **ENVIRONMENT, **trust},
            cwd=launch.cwd,
            access=launch.access,
            session=launch.session,
        )

    def stored_sessions(self, environ: Mapping[str, str]) -> Iterator[StoredSession]:
        from . import stored

        return stored.grok(Path(self.config_dir(environ)))

    def parser(self, request: Request, invocation: Invocation) -> GrokParser:
        parser = GrokParser(cli_version=packaged_version(invocation.argv[0], UPKEEP.package))
        parser.structured = request.schema is not None
        parser.expected_tools = _expected_tools(invocation.argv)
        parser.notices = list(_notices(request, invocation))
        return parser


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("GROK_HOME") or Path(env.get("HOME") or Path.home(), ".grok"))


def _real(folders: tuple[str | Path, ...], cwd: str) -> list[str]:
    places = (os.path.join(cwd, os.path.expanduser(folder)) for folder in folders)
    return [os.path.realpath(place) for place in places if os.path.isdir(place)]


def _look_for(session: SessionPlan, home: Path) -> None:
    """Say at once that a session is gone: grok would ask a server for twenty seconds."""
    id, folders = session.session_id, (home / "sessions").glob("*")
    if id and not any((folder / id).is_dir() for folder in folders):
        raise SessionLost(f"Grok does not have session {session.session_id}.")


def _session(session: SessionPlan) -> list[str]:
    new = ["--session-id", session.new_id] if session.new_id else []
    if session.kind == "resume" and session.session_id:
        return ["--resume", session.session_id]
    if session.kind == "fork" and session.session_id:
        return ["--resume", session.session_id, "--fork-session", *new]
    return ["--continue"] if session.kind == "latest" else new


def _rules(request: Request, session: SessionPlan, cwd: str) -> list[str]:
    """A session keeps the rules that it began with; later ones go before the prompt."""
    if session.kind != "new":
        return []
    system = request.system or ""
    if len(system.encode("utf-8", "replace")) > ARGUMENT_LIMIT - len("--rules="):
        raise InvalidInput("The system prompt is longer than the 128 KiB that grok takes.")
    parts = [system]
    if not request.options.trust_workspace:
        # In a folder that it does not trust grok leaves out the instructions too.
        parts.append(workspace_instructions(cwd, INSTRUCTIONS))
    text = "\n\n".join(filter(None, parts))
    room = ARGUMENT_LIMIT - len("--rules=")
    cut = text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
    return [f"--rules={cut}"] if cut else []


def _schema(schema: Mapping[str, Any] | None) -> list[str]:
    if schema is None:
        return []
    text = json.dumps(schema)
    if len(text.encode()) > ARGUMENT_LIMIT:
        raise InvalidInput("The schema is longer than the 128 KiB that grok takes.")
    return ["--json-schema", text]


def _attached(request: Request, launch: Launch) -> list[str]:
    """Copy the attachments to where grok's own tool may read them.

    ``--prompt-json`` takes images, but of 96 kB in all, and the prompt with them for all to see.
    """
    paths = []
    for number, attachment in enumerate(request.attachments):
        folder = Path(os.path.realpath(launch.files))
        path = folder / f"attachment-{number}.{SUFFIXES[attachment.type]}"
        path.write_bytes(attachment.bytes())
        paths.append(str(path))
    return paths


def _prompt(request: Request, launch: Launch, attached: list[str], roots: list[str]) -> str:
    """Return the prompt in a wrapper, without which a leading ``/`` is a command of grok's."""
    cwd = os.path.realpath(launch.cwd)
    quoted = [replace(t, text=grok_rules.harmless(t.text, cwd)) for t in launch.session.quoted]
    text = with_new_system(quoted_prompt(request.prompt, quoted), request, launch.session)
    if launch.access is not Access.FULL:
        grok_rules.refuse_mentions(text, cwd, roots)
    wrapped = f"<prompt>\n{text}\n</prompt>"
    if not attached:
        return wrapped
    names = "\n".join(attached)
    return (
        "<attachments>\nThe prompt is about these files; open each with read_file first:\n"
        f"{names}\n</attachments>\n\n{wrapped}"
    )


def _notices(request: Request, invocation: Invocation) -> Iterator[str]:
    cwd = invocation.cwd
    if files := grok_rules.mentioned(request.prompt, cwd):
        names = ", ".join(os.path.relpath(path, cwd) for path in files)
        yield f"grok adds to the prompt what an @ names in it: {names}"
    if invocation.access is not Access.FULL and not any(
        rule.startswith("Read(") for rule in invocation.argv
    ):
        yield "grok may read outside the workspace, because that has a folder named as one above it"


def _expected_tools(argv: tuple[str, ...]) -> frozenset[str] | None:
    if "--tools" not in argv:
        return None
    ids = argv[argv.index("--tools") + 1].split(",")
    names = {name for name, id in grok_rules.TOOL_IDS.items() if id in ids}
    return frozenset(names | (grok_rules.AGENT_TOOLS if "task" in ids else set()))
