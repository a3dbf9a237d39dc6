"""Gemini CLI: its flags and its prompt. Facts seen on gemini 0.61.0.

What it prints is read in ``gemini_output``; what holds its access levels is in ``gemini_policy``.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, SessionLost
from ..policy.child_env import VendorVariables
from ..request import Access, Attachment, Invocation, Options, Request, SessionPlan
from . import gemini_policy
from .base import (
    SHARED_OPTIONS,
    Launch,
    Provider,
    flag,
    quoted_prompt,
    tool_base,
    with_new_system,
)
from .features import packaged_version
from .gemini_output import INSTALL, LOGIN, TITLE, GeminiParser
from .gemini_upkeep import CATALOGUE, UPKEEP

if TYPE_CHECKING:
    from . import mcp
    from .stored import StoredSession

__all__ = ["Gemini"]

MIB = 1024 * 1024
PROMPT_LIMIT = 8 * MIB
FILE_LIMIT = 20 * MIB
KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT")
NO_MCP = ("--allowed-mcp-server-names", "none")

# gemini goes by the name of a file; text goes into the prompt, of a file it would cut long lines.
SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/heic": "heic",
    "image/heif": "heif",
    "application/pdf": "pdf",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/aiff": "aiff",
    "audio/aac": "aac",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "video/mp4": "mp4",
    "video/mpeg": "mpeg",
    "video/quicktime": "mov",
    "video/webm": "webm",
}
TEXT = "text/plain"
MENTION = re.compile(r"(?<!\\)@[^\s,;!?()\[\]{}]")


class Gemini(Provider):
    name = "gemini"
    title = TITLE
    command = "gemini"
    install = INSTALL
    login = LOGIN
    levels = gemini_policy.LEVELS
    options = SHARED_OPTIONS | {
        *("add_dirs", "resume_latest", "allowed_tools", "disallowed_tools", "approval_mode")
    }
    native_words = {
        "approval_mode": {
            "default": Access.READ,
            "plan": Access.READ,
            "auto_edit": Access.EDIT,
            "yolo": Access.FULL,
        }
    }
    tool_names = gemini_policy.TOOL_NAMES
    mcp_names = ("mcp_", "_")
    workspace_tools = frozenset(gemini_policy.READ_TOOLS)
    attachment_types = frozenset({*SUFFIXES, TEXT})
    prompt_limit = PROMPT_LIMIT
    notes = {
        "reasoning": "not shown",
        "system prompt": "before the first prompt, and again where it changes",
        "schema": "asked for in the prompt, and checked",
        "usage": "tokens, cache, reasoning, its router included; no cost",
        "stop reason": "not told: an answer cut off by a limit counts as whole",
        "own retries": "told one by one; stopped after retry_wait",
        "MCP servers": "by name, yours; below full no tool but those that allowed_tools names",
    }
    catalogue = CATALOGUE
    upkeep = UPKEEP
    chooses_fork_id = False
    resumes_anywhere = False
    variables = VendorVariables(
        names=("GEMINI_*", "GOOGLE_*", "CODE_ASSIST_*", "CLOUD_SHELL"),
        # Trust is ours to give; an IDE would widen the workspace; the rest is for its own tests.
        without=(
            *("GEMINI_CLI", "GEMINI_CLI_TRUST_WORKSPACE", "GEMINI_CLI_INTEGRATION_TEST"),
            *("GEMINI_CLI_IDE_AUTH_TOKEN", "GEMINI_CLI_IDE_PID", "GEMINI_CLI_IDE_SERVER_PORT"),
            *("GEMINI_CLI_IDE_SERVER_STDIO_ARGS", "GEMINI_CLI_IDE_SERVER_STDIO_COMMAND"),
            *("GEMINI_CLI_IDE_WORKSPACE_PATH", "GEMINI_CLI_WORKTREE_HANDLED", "GEMINI_PTY_INFO"),
        ),
        switched={
            "CLOUDSDK_*": ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA"),
            "GCLOUD_PROJECT": ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA"),
        },
    )

    def seen_models(self) -> Iterable[tuple[str, str, str]]:
        from .gemini_history import seen_in_history

        return seen_in_history()

    def check(self, request: Request, access: Access) -> None:
        super().check(request, access)
        o = request.options
        for tool in (*(o.allowed_tools or ()), *(o.disallowed_tools or ())):
            if tool_base(tool) != tool and tool_base(tool) != gemini_policy.SHELL:
                raise InvalidInput(
                    f"Gemini CLI has rules with (…) for {gemini_policy.SHELL} only, not {tool}."
                )
        for tool in o.disallowed_tools or ():
            if tool.startswith("mcp_") and tool.count("_") < 2:
                raise InvalidInput(
                    f"Gemini CLI ignores {tool!r}; {tool}_* takes all tools of a server away."
                )
        if not o.trust_workspace:
            own = gemini_policy.own_folders(os.environ)
            gemini_policy.refuse_env_file(o.cwd or os.getcwd(), own)

    def config_dir(self, env: Mapping[str, str]) -> str:
        return str(gemini_policy.own_folders(env)[0] / ".gemini")

    def plan(self, request: Request, launch: Launch) -> Invocation:
        o, trusted = request.options, bool(request.options.trust_workspace)
        attached = _attached(request.attachments, launch.files)
        prompt = _prompt(request, launch.session)
        argv = [
            *(launch.executable, "-o", "stream-json"),
            *(() if trusted else ("--skip-trust",)),
            *_servers(request, launch.access),
            *_access(request, launch, mentions=bool(MENTION.search(prompt))),
            *_session(launch.session, launch.environ),
            *flag("--model", o.model),
            *_directories(o.add_dirs or (), launch.cwd),
            *_directories([str(f.parent) for f in attached[:1]], launch.cwd),
        ]
        return Invocation(
            argv=tuple(argv),
            stdin=_stdin(prompt, attached),
            env=self.with_servers(_environment(launch, trusted), request, launch),
            cwd=launch.cwd,
            access=launch.access,
            session=launch.session,
        )

    def stored_sessions(self, environ: Mapping[str, str]) -> Iterator[StoredSession]:
        from . import stored

        return stored.gemini(gemini_policy.own_folders(environ)[0] / ".gemini")

    def servers(self, options: Options, environ: Mapping[str, str]) -> mcp.Definitions:
        words = options.mcp_servers
        if not words:
            return {}
        from . import mcp

        if files := [word for word in words if mcp.is_file(word)]:
            raise InvalidInput(
                f"Gemini CLI takes MCP servers by name, from its own settings; not from {files[0]}."
            )
        path = gemini_policy.own_folders(environ)[0] / ".gemini" / "settings.json"
        return mcp.named(words, mcp.own_servers(path), str(path), options)

    def parser(self, request: Request, invocation: Invocation) -> GeminiParser:
        return GeminiParser(
            cli_version=packaged_version(invocation.argv[0], UPKEEP.package),
            structured=request.schema is not None,
            key_left_out=any(invocation.env.get(name) == "" for name in KEYS),
        )


def _servers(request: Request, access: Access) -> list[str]:
    """Name the servers that may start, none where that is nobody's to say; tools are the policy's.

    For gemini to name some is to leave all others out.
    """
    o = request.options
    if request.servers:
        return [part for name in request.servers for part in (NO_MCP[0], name)]
    held = access is not Access.FULL and not o.trust_workspace
    return [*NO_MCP] if held or o.strict_mcp_config or o.mcp_servers == () else []


def _access(request: Request, launch: Launch, *, mentions: bool) -> list[str]:
    """A native word is held by the policy of the level that it stands for: it holds nothing."""
    o, home = request.options, gemini_policy.own_folders(launch.environ)[0]
    word = o.native.get("approval_mode")
    access = Gemini.native_words["approval_mode"][word] if word else launch.access
    level = gemini_policy.LEVELS[access]
    # For a @word that is no file it takes the first file whose name has it, if it has this tool.
    hidden = ("glob",) if mentions and "glob" not in (o.allowed_tools or ()) else ()
    text = gemini_policy.policy(level, o.allowed_tools, (*(o.disallowed_tools or ()), *hidden))
    argv = ["--approval-mode", word] if word else [*level.argv]
    if text is not None:
        path = launch.files / f"{access.value}.toml"
        path.write_text(text, encoding="utf-8")
        users = gemini_policy.user_policies(home) if access is Access.FULL else []
        argv += [part for p in (path, *users) for part in ("--policy", str(p))]
    return argv


def _session(session: SessionPlan, environ: Mapping[str, str]) -> list[str]:
    if session.kind == "resume" and session.session_id:
        return ["--resume", session.session_id]
    if session.kind == "fork" and session.session_id:
        return ["--session-file", _session_file(session.session_id, environ)]
    if session.kind == "latest":
        return ["--resume", "latest"]
    return ["--session-id", session.new_id] if session.new_id else []


def _session_file(session_id: str, environ: Mapping[str, str]) -> str:
    """Return the newest file that gemini keeps of a session, in whatever project it is."""
    home = str(gemini_policy.own_folders(environ)[0])
    name = f"session-*-{glob.escape(session_id[:8])}.jsonl"
    places = os.path.join(glob.escape(home), ".gemini", "tmp", "*", "chats", name)
    found = [path for path in glob.glob(places) if _is_of(path, session_id)]
    if not found:
        raise SessionLost(f"Gemini CLI does not have session {session_id}.")
    return max(found, key=os.path.getmtime)


def _is_of(path: str, session_id: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return bool(json.loads(file.readline()).get("sessionId") == session_id)
    except (OSError, ValueError, AttributeError):
        return False


def _directories(folders: Iterable[str], cwd: str) -> list[str]:
    argv = []
    for folder in folders:
        if "," in folder:
            raise InvalidInput(f"Gemini CLI takes no directory with a comma in it: {folder}")
        argv += ["--include-directories", os.path.join(cwd, os.path.expanduser(folder))]
    return argv


def _environment(launch: Launch, trusted: bool) -> dict[str, str]:
    temporary = launch.files / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    # Its crash reports, which hold prompts, end with this folder. It would start itself a second
    # time with a larger heap, which doubles the time until it does anything.
    own = {"TMPDIR": str(temporary), "GEMINI_CLI_NO_RELAUNCH": "true"}
    if trusted:
        return {**launch.env, **own, "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    folders = gemini_policy.own_folders(launch.environ)
    kept = gemini_policy.trust(launch.files, launch.cwd, folders, launch.env, launch.access)
    return {**launch.env, **own, **kept}


def _attached(attachments: Iterable[Attachment], files: Path) -> list[Path]:
    """Copy what is attached into a folder of its own, which becomes a part of the workspace."""
    folder, paths = files / "attachments", []
    for number, attachment in enumerate(attachments, 1):
        if attachment.type == TEXT:
            continue
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"attachment-{number}.{SUFFIXES[attachment.type]}"
        if attachment.path is not None:
            import shutil

            shutil.copyfile(attachment.path, path)
        else:
            path.write_bytes(attachment.bytes())
        if path.stat().st_size > FILE_LIMIT:
            raise InvalidInput(f"Attachment {number} is larger than the 20 MiB that gemini takes.")
        paths.append(path)
    return paths


def _prompt(request: Request, session: SessionPlan) -> str:
    """Put the system prompt before the first prompt: gemini itself can only replace its own."""
    first = request.system if session.kind == "new" else None
    texts = [a.bytes().decode("utf-8", "replace") for a in request.attachments if a.type == TEXT]
    parts = [
        f"<instructions>\n{first}\n</instructions>" if first else "",
        *(f"<attachment>\n{text}\n</attachment>" for text in texts),
        with_new_system(quoted_prompt(request.prompt, session.quoted), request, session),
        _schema(request.schema),
    ]
    return "\n\n".join(part for part in parts if part)


def _stdin(prompt: str, attached: Sequence[Path]) -> bytes:
    mentions = "\n".join(f'@"{os.path.realpath(path)}"' for path in attached)
    text = f"{prompt}\n\n{mentions}" if attached else prompt
    # A prompt that begins with a command's name would be executed, or refused.
    data = ("\n" + text if text.startswith("/") else text).encode("utf-8", "replace")
    if len(data) > PROMPT_LIMIT:
        raise InvalidInput(
            f"The prompt has {len(data):,} bytes with all that goes before it; Gemini CLI takes "
            f"at most {PROMPT_LIMIT:,}."
        )
    return data


def _schema(schema: Mapping[str, Any] | None) -> str:
    if schema is None:
        return ""
    return (
        "Answer with JSON alone, without any text or code fence around it. It has to fit this "
        f"JSON schema:\n\n{json.dumps(schema, ensure_ascii=False)}"
    )
