"""What holds grok's access levels, and what nothing holds. Facts seen on grok 1.0.41.

Its permission modes run ``touch`` without asking and end the turn where they would have to ask.
What holds is which tools are offered, and rules that deny: these win over the user's own rules and
over always-approve, follow links, and let the turn go on. A rule cannot say "everything but", so
what lies outside the workspace is denied by patterns that match it piece by piece.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import InvalidInput, PermissionDenied
from ..request import Access, Options, Request
from .base import Level, tool_base
from .instructions import workspace_root

__all__ = [
    "AGENT_TOOLS",
    "LEVELS",
    "RULES",
    "TOOL_IDS",
    "access_argv",
    "check_rules",
    "harmless",
    "mentioned",
    "outside",
    "outside_of_search",
    "refuse_mentions",
    "refuse_trusted_folder",
]


def _deny(*rules: str) -> tuple[str, ...]:
    return tuple(part for rule in rules for part in ("--deny", rule))


DEFAULT_MODE = ("--permission-mode", "default")
NO_SHELL = _deny("Bash", "MCPTool", "WebFetch", "WebSearch")
READ_TOOLS = ("read_file", "grep", "list_dir")
EDIT_TOOLS = (*READ_TOOLS, "search_replace", "write")
LEVELS = {
    Access.READ: Level(
        (*DEFAULT_MODE, *NO_SHELL, *_deny("Edit", "Write")),
        "reads and searches the workspace; no shell, no web, no MCP tools; outside it nothing but "
        "folders like /etc where the workspace has an etc as well",
        READ_TOOLS,
    ),
    Access.EDIT: Level(
        (*DEFAULT_MODE, *NO_SHELL),
        "also writes files in the workspace, but not in .git nor in the folders of coding agents; "
        "no shell, no web",
        EDIT_TOOLS,
    ),
    Access.FULL: Level(("--always-approve",), "everything the user may do"),
}
# Whoever writes there has other programs run something later.
PROTECTED = tuple(
    f"**/{name}/**" for name in (".git", ".grok", ".claude", ".codex", ".cursor", ".gemini")
)

# The names that its events and its models use → the ones that its flags want; it ignores all
# others, and then offers every tool. It cannot do without some of each other.
TOOL_IDS = {
    **{name: name for name in EDIT_TOOLS},
    **{name: name for name in ("ask_user_question", "image_edit", "image_gen", "image_to_video")},
    **{name: name for name in ("monitor", "reference_to_video", "send_feedback", "todo_write")},
    **{name: name for name in ("web_search", "workflow", "enter_plan_mode", "exit_plan_mode")},
    "run_terminal_command": "run_terminal_cmd",
    "spawn_subagent": "task",
    "kill_command_or_subagent": "kill_task",
    "get_command_or_subagent_output": "get_task_output",
    **{name: name for name in ("scheduler_create", "scheduler_delete", "scheduler_list")},
}
# It offers these together.
AGENT_TOOLS = frozenset(
    {
        *("spawn_subagent", "kill_command_or_subagent", "get_command_or_subagent_output"),
        *("scheduler_create", "scheduler_delete", "scheduler_list"),
    }
)
RULES = frozenset(
    {"Bash", "Edit", "Grep", "MCPTool", "Read", "WebFetch", "WebSearch", "Write"},
)
# Which of them has the patterns for a tool. One for Grep would be about where a search begins.
RULE_FOR = {
    **dict.fromkeys(("write", "search_replace"), "Edit"),
    **dict.fromkeys(("read_file", "grep", "list_dir", "Grep"), "Read"),
    **dict.fromkeys(("run_terminal_command", "monitor"), "Bash"),
}
PATTERNED = frozenset({"Bash", "Edit", "MCPTool", "Read", "WebFetch", "Write"})


def check_rules(options: Options) -> None:
    """Refuse patterns that grok would ignore.

    :raises InvalidInput: says what holds instead.
    """
    for rule in options.allowed_tools or ():
        if "(" in rule:
            raise InvalidInput(
                f"Grok offers a tool or does not; narrow it with -o disallowed_tools, not {rule}."
            )
    for rule in options.disallowed_tools or ():
        if "(" in rule:
            _refuse_ignored(tool_base(rule), rule.partition("(")[2][:-1], options.cwd or ".")


def _refuse_ignored(tool: str, inside: str, cwd: str) -> None:
    ignores = f"Grok ignores what {tool}({inside}) says; "
    if tool in RULE_FOR:
        raise InvalidInput(f"{ignores}its rule for that is {RULE_FOR[tool]}({inside}).")
    if tool not in PATTERNED:
        raise InvalidInput(f"{ignores}name {tool} alone.")
    if tool == "MCPTool" and not re.fullmatch(r"(?!mcp_).*(__|\*).*", inside):
        raise InvalidInput(f"{ignores}it knows the tools of a server as MCPTool(SERVER__TOOL).")
    if tool == "WebFetch" and not re.match(r"domain:|\*|https?://", inside):
        raise InvalidInput(f"{ignores}name a domain, as in WebFetch(domain:example.com).")
    if tool in ("Edit", "Read", "Write"):
        folder = inside.rstrip("/")
        if folder != inside or os.path.isdir(os.path.join(cwd, folder)):
            raise InvalidInput(f"{ignores}what is in the folder is {tool}({folder}/**).")


def access_argv(
    request: Request, access: Access, readable: Sequence[str], writable: Sequence[str]
) -> list[str]:
    """Return the flags of an access level.

    :param readable: real paths of what may be read. :param writable: of what may be written, the
        workspace first.
    """
    o, level = request.options, LEVELS[access]
    word = o.native.get("permission_mode")
    argv = [*(level.argv if word is None else _with_mode(level.argv, word))]
    if access is not Access.FULL:
        argv += _deny(*(f"Read({p})" for p in outside_of_search(readable, writable[0])))
    if access is Access.EDIT:
        argv += [part for root in writable for part in ("--allow", f"Edit({_literal(root)}/**)")]
        argv += _deny(*(f"Edit({p})" for p in (*outside(writable), *PROTECTED)))
    return [*argv, *_tools(level, o.allowed_tools, o.disallowed_tools or ())]


def _with_mode(argv: Sequence[str], word: str) -> list[str]:
    rest = [part for part in argv if part not in (*DEFAULT_MODE, "--always-approve")]
    return ["--permission-mode", word, *rest]


def _tools(level: Level, allowed: Sequence[str] | None, disallowed: Sequence[str]) -> Iterator[str]:
    rules = [t for t in disallowed if t not in TOOL_IDS]
    whole = {t for t in disallowed if t in TOOL_IDS}
    offered = level.tools if allowed is None else [t for t in allowed if t in TOOL_IDS]
    if offered or allowed is not None:
        yield from ("--tools", _ids(offered, whole))
    elif whole:
        yield from ("--disallowed-tools", _ids(sorted(whole)))
    for rule in rules:
        yield from ("--deny", rule)


def _ids(names: Iterable[str], but: Iterable[str] = ()) -> str:
    ids = [TOOL_IDS[name] for name in dict.fromkeys(names) if name not in but]
    if not ids:
        raise InvalidInput("Grok takes an empty list of tools for all of them; leave it one.")
    return ",".join(ids)


# Patterns. One matches a whole path; ``*`` and ``[…]`` stay within a name.

UNSAID = frozenset("[]{}*?!^\\,()\"'")
HOME = ("~", "~/**")  # expanded by the tool, after the rules were asked


def outside(roots: Sequence[str]) -> list[str]:
    """Return patterns that together match every path but the roots and what is in them.

    A name with a character that a pattern cannot say is matched as if that were any character, or
    not at all where that could match another root.
    """
    parts = _split(roots)
    return [] if () in parts else [*HOME, "/", *_beside("/", parts)]


def outside_of_search(roots: Sequence[str], cwd: str) -> list[str]:
    """Return the same for rules about reading, which grok's search takes for its own globs.

    There ``/x`` means ``x`` in the workspace, so patterns for any name at the top would hide all
    of it: folders at the top are named, but for those whose name the workspace has as well.
    """
    parts, here = _split(roots), set(os.listdir(cwd))
    own = {root[0] for root in parts if root}
    if () in parts or own & here:
        return []
    others = [_literal(name) for name in sorted(set(os.listdir("/")) - own - here)]
    top = [pattern for name in others for pattern in (f"/{name}", f"/{name}/**")]
    return [*HOME, "/", *top, *_below("/", parts)]


def _split(roots: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(filter(None, root.split("/"))) for root in roots]


def _beside(prefix: str, roots: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for pattern in _other_names(sorted({root[0] for root in roots})):
        yield f"{prefix}{pattern}"
        yield f"{prefix}{pattern}/**"
    yield from _below(prefix, roots)


def _below(prefix: str, roots: Sequence[tuple[str, ...]]) -> Iterator[str]:
    names = sorted({root[0] for root in roots})
    for name in filter(lambda name: _sayable(name, names), names):
        below = [root[1:] for root in roots if root[0] == name]
        if () not in below:
            yield f"{prefix}{_literal(name)}"
            yield from _beside(f"{prefix}{_literal(name)}/", below)


def _other_names(names: Sequence[str]) -> Iterator[str]:
    """Yield patterns for every name but these: those that leave them at some character."""
    starts = sorted({name[:at] for name in names for at in range(len(name) + 1)})
    for start in filter(lambda start: _sayable(start, names), starts):
        following = {name[len(start)] for name in names if name.startswith(start) and name != start}
        if not following:
            yield f"{_literal(start)}?*"
        elif not following & UNSAID:
            # A hyphen would make a range anywhere but at the end.
            yield f"{_literal(start)}[!{''.join(sorted(following, key='-'.__eq__))}]*"
        if start and start not in names:
            yield _literal(start)


def _sayable(text: str, names: Sequence[str]) -> bool:
    return len(names) == 1 or not UNSAID & set(text)


def _literal(text: str) -> str:
    return "".join("?" if character in UNSAID else character for character in text)


# What no flag holds.

MENTION = re.compile(r"(?<!\w)@(?=\s*(\S+))")
LINES = re.compile(r":\d+-\d+\Z")


def mentioned(text: str, cwd: str) -> list[Path]:
    """Return the files that grok would add to a prompt because an ``@`` stands before their name.

    No flag and no rule keeps it from that; a mark that touches the end of the name does.
    """
    words = dict.fromkeys(found[1] for found in MENTION.finditer(text))
    return [path for word in words if (path := _file(word, cwd))]


def _file(word: str, cwd: str) -> Path | None:
    names = (os.path.join(cwd, word), os.path.join(cwd, LINES.sub("", word)))
    return next((Path(name) for name in names if os.path.isfile(name)), None)


def refuse_mentions(text: str, cwd: str, roots: Sequence[str]) -> list[Path]:
    """Return the files that a prompt names with an ``@``; refuse those outside the roots."""
    files = mentioned(text, cwd)
    for path in files:
        if not any(Path(os.path.realpath(path)).is_relative_to(root) for root in roots):
            raise PermissionDenied(
                f"Grok would read {path}, which is outside the workspace, because the prompt has "
                "an @ before its name; write the @ and the name in `backticks`."
            )
    return files


def harmless(text: str, cwd: str) -> str:
    """Put what an earlier turn names with an ``@`` in backticks, so that it stays a word."""

    def quoted(found: re.Match[str]) -> str:
        return f"`@{found[2]}`" if _file(found[2], cwd) else found[0]

    return re.sub(r"(?<!\w)@(\s*)(\S+)", quoted, text)


OWN_CODE = (
    *(".grok", ".claude", ".cursor", ".codex", ".mcp.json", ".claude.json", ".envrc"),
    *(".lsp.json", "lsp.json"),
)


def refuse_trusted_folder(cwd: str, home: Path) -> None:
    """Refuse a workspace whose hooks and servers grok would run, because its user trusts it."""
    file = home / "trusted_folders.toml"
    try:
        sections = re.split(r"(?m)^\s*\[", file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return
    trusted = [s for s in sections if not re.search(r"(?m)^\s*trusted\s*=\s*false", s)]
    found = _own_code(cwd)
    for folder in _trust_roots(cwd) if found else ():
        quoted = (json.dumps(str(folder), ensure_ascii=False), f"'{folder}'")
        if any(name in section for section in trusted for name in quoted):
            raise PermissionDenied(
                f"Grok runs hooks and servers of {folder} at every access level, because you "
                f"trusted it once and it has {', '.join(found)}; allow that with "
                f"-o trust_workspace 1, or take the folder out of {file}."
            )


def _trust_roots(cwd: str) -> list[Path]:
    """Return the folders one of which grok would have to trust: a work tree has its main one's."""
    root, here = workspace_root(cwd), Path(os.path.realpath(cwd))
    roots = [here, *here.parents]
    git = root / ".git"
    if git.is_file():
        pointer = git.read_text(errors="replace").partition("gitdir:")[2].strip()
        main = Path(os.path.realpath(root / pointer))
        if main.parent.name == "worktrees":
            roots.append(main.parents[2])
    return roots


def _own_code(cwd: str) -> list[str]:
    root, here = workspace_root(cwd), Path(os.path.realpath(cwd))
    folders = [p for p in (here, *here.parents) if p.is_relative_to(root)]
    return sorted({name for p in folders for name in OWN_CODE if os.path.lexists(p / name)})
