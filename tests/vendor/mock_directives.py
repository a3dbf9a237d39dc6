"""What the mock model server says, decided from the user's newest words alone.

The vendor dialects translate a request into a `Conversation`, ask `decide` for a `Reply`, and
translate that back.  Only text that the user typed can hold directives: what tools returned, and
what a CLI adds by itself (reminders, environment descriptions, instruction files), is dropped
before it gets here or is cut away by `strip_injected`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

#: Directives that take the rest of their line as their value.
LINE_DIRECTIVES = ("TOOL", "SAYTHEN", "SAY", "JSON")

_DIRECTIVE = re.compile(r"(?<!\S)MOCK:([A-Z]+)(?:=(\S*))?")
_INJECTED_ELEMENT = re.compile(
    r"<(system-reminder|environment_context|user_instructions|INSTRUCTIONS|user_info|git_status"
    r"|project_layout|session_context|recommended_plugins|permissions[ _]instructions"
    r"|skills_instructions)\b[^>]*>.*?</\1>\n?",
    re.DOTALL,
)
_INJECTED_WHOLE = re.compile(
    r"\s*(# AGENTS\.md instructions|<user_info>|<turn_aborted>|\[Request interrupted by user)"
)
_INJECTED_TAIL = re.compile(r"\n*--- Content from referenced files ---.*", re.DOTALL)
_WRAPPER = re.compile(r"\s*<prompt>\n?(.*?)\n?</prompt>\s*", re.DOTALL)
#: What a CLI itself says to the model in the user's name, to make it go on after a bad answer.
_SYNTHETIC = re.compile(
    r"\s*(Output token limit hit\.|\[structured-output-enforce\]"
    r"|Your (last|previous) (response|turn)|Please continue\.?\s*$|Continue from where you left off"
    r"|System: (Please continue|Potential loop))"
)
ECHO_LIMIT = 2000


@dataclass
class ToolCall:
    """One tool call the model is to make, with the text said just before it."""

    name: str
    arguments: dict[str, Any]
    say: str = ""


@dataclass
class ToolResult:
    """What came back for one tool call of the newest turn."""

    name: str
    text: str
    error: bool


@dataclass
class Directives:
    """The directives found in one user message."""

    flags: dict[str, str] = field(default_factory=dict)
    tools: list[ToolCall] = field(default_factory=list)

    def has(self, name: str) -> bool:
        """Tell whether the directive `name` was given."""
        return name in self.flags

    def number(self, name: str, default: float) -> float:
        """Return the directive's value as a number, or `default`."""
        try:
            return float(self.flags[name])
        except (KeyError, ValueError):
            return default


@dataclass
class Conversation:
    """A request in no vendor's words: what the user said by turns, and what tools gave back."""

    model: str
    stream: bool
    user_turns: list[str]
    tool_results: list[ToolResult]
    tool_names: list[str]
    schema: dict[str, Any] | None = None
    side_answer: str | None = None
    forced: ToolCall | None = None
    nudges: int = 0

    @property
    def last_user_text(self) -> str:
        """The newest thing the user said."""
        return self.user_turns[-1] if self.user_turns else ""


@dataclass
class Reply:
    """What the mock is going to answer, in no vendor's words."""

    text: str = ""
    thinking: str = ""
    tool: ToolCall | None = None
    stop: str = "end"  # end, tool, max_tokens, refusal
    status: int = 200
    retry_after: str | None = None
    delay: float = 0.0
    drop: bool = False
    drop_all: bool = False
    hang: bool = False
    stall: bool = False
    structured: Any = None

    def deltas(self) -> list[str]:
        """Split the text into the pieces to be streamed."""
        words = re.findall(r"\S+\s*|\s+", self.text)
        size = max(1, len(words) // 200)
        return ["".join(words[at : at + size]) for at in range(0, len(words), size)]


def strip_injected(text: str) -> str:
    """Return what the user typed, without what a CLI put around it."""
    inner = re.search(r"<user_query>\n?(.*?)\n?</user_query>", text, re.DOTALL)
    if inner:
        text = inner.group(1)
    elif _INJECTED_WHOLE.match(text):
        return ""
    text = _INJECTED_TAIL.sub("", _INJECTED_ELEMENT.sub("", text))
    wrapped = _WRAPPER.fullmatch(text)
    return wrapped.group(1) if wrapped else text


def split_nudges(turns: Iterable[str]) -> tuple[list[str], int]:
    """Separate the user's turns from a CLI's own "go on" messages after the newest of them."""
    real: list[str] = []
    nudges = 0
    for turn in turns:
        if not turn.strip():
            continue
        if real and _SYNTHETIC.match(turn):
            nudges += 1
        else:
            real.append(turn)
            nudges = 0
    return real, nudges


def parse_directives(text: str) -> Directives:
    """Read the `MOCK:…` directives of one user message."""
    found = Directives()
    say: list[str] = []
    for line in text.splitlines():
        position = 0
        while match := _DIRECTIVE.search(line, position):
            name, value = match.group(1), match.group(2) or ""
            position = match.end()
            if name not in LINE_DIRECTIVES:
                found.flags[name] = value
                continue
            value = line[match.start() + len(f"MOCK:{name}=") :]
            position = len(line)
            if name == "SAYTHEN":
                say.append(value)
            elif name == "TOOL":
                found.tools.append(_tool(value, "\n".join(say)))
                say = []
            else:
                found.flags[name] = value
    return found


def _tool(value: str, say: str) -> ToolCall:
    name, _, arguments = value.strip().partition(" ")
    parsed = json.loads(arguments) if arguments.strip() else {}
    return ToolCall(name, parsed, say)


def sample(schema: dict[str, Any]) -> Any:
    """Return the smallest plausible value that fits a JSON schema."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return sample(schema[key][0])
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    kind = str(kind).lower()
    if kind == "object":
        return {name: sample(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}))] * int(schema.get("minItems", 1))
    simple = {"string": "mock", "integer": 7, "number": 0.5, "boolean": True, "null": None}
    return simple.get(kind)


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text)} characters]"


def echo(conversation: Conversation) -> str:
    """Return the default answer: the user's words, and the place of this turn among all."""
    turns = conversation.user_turns
    place = f"turn {len(turns)} of this conversation"
    if len(turns) > 1:
        place += f"; first was: {_shorten(turns[0], 200)}"
    return f"You said: {_shorten(conversation.last_user_text, ECHO_LIMIT)} ({place})"


def _tool_summary(results: list[ToolResult]) -> str:
    failed = [result.name for result in results if result.error]
    names = f" ({', '.join(failed)})" if failed else ""
    return f"Tools run: {len(results)}; errors: {len(failed)}{names}."


def decide(conversation: Conversation, seen: int = 0) -> Reply:
    """Choose the answer; `seen` is how often this very turn was already asked for."""
    if conversation.side_answer is not None:
        return Reply(text=conversation.side_answer)
    if conversation.forced is not None:
        return Reply(tool=conversation.forced, stop="tool")
    given = parse_directives(conversation.last_user_text)
    reply = Reply(delay=given.number("SLOW", 0.0))
    misbehave = seen < given.number("TIMES", float("inf"))
    if misbehave and given.has("STATUS"):
        reply.status = int(given.number("STATUS", 500))
        reply.retry_after = given.flags.get("RETRYAFTER")
        return reply
    reply.hang = misbehave and given.has("HANG")
    reply.stall = misbehave and given.has("STALL")
    reply.drop = misbehave and given.has("DROP")
    reply.drop_all = given.flags.get("DROP") == "all"
    if given.has("THINK"):
        reply.thinking = "Let me think about this."
    done = len(conversation.tool_results)
    if done < len(given.tools):
        reply.tool, reply.stop = given.tools[done], "tool"
        reply.text = reply.tool.say
        return reply
    reply.text = _final_text(conversation, given)
    if misbehave and given.has("MAXTOK"):
        reply.stop = "max_tokens"
    elif misbehave and given.has("REFUSE"):
        reply.stop, reply.text = "refusal", ""
    elif misbehave and given.has("EMPTY") and not conversation.nudges:
        reply.text = ""
    elif conversation.schema is not None and not given.has("NOSCHEMA"):
        if "JSON" in given.flags:
            reply.structured = json.loads(given.flags["JSON"])
        else:
            reply.structured = sample(conversation.schema)
        reply.text = json.dumps(reply.structured)
    return reply


def _final_text(conversation: Conversation, given: Directives) -> str:
    if "JSON" in given.flags:
        return given.flags["JSON"].strip()
    if "SAY" in given.flags:
        return given.flags["SAY"]
    if given.has("WORDS"):
        return " ".join(f"word{n}" for n in range(1, int(given.number("WORDS", 1)) + 1))
    if given.tools:
        return _tool_summary(conversation.tool_results)
    return echo(conversation)
