"""What ``-o`` takes: one table, from which each model's Options class and the docs are made."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Optional

import llm
from pydantic import BeforeValidator, Field, create_model

from .providers.base import Provider
from .request import Access, Options

__all__ = ["OPTIONS", "Option", "options_class", "options_of"]


def _words(value: object) -> object:
    """Take a JSON list, a comma-separated string or a list."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError(
                "must be a JSON list of strings, or words with commas between"
            ) from None
    return _split(text)


def _split(text: str) -> list[str]:
    """Split at commas that are not in parentheses: ``Bash(a,b),Read`` has two words."""
    words, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            words.append(text[start:at])
            start = at + 1
    words.append(text[start:])
    return [word.strip() for word in words if word.strip()]


Words = Annotated[list[str], BeforeValidator(_words)]
Seconds = Annotated[float, Field(gt=0)]
Strategy = Literal["legacy", "mcp_managed"]
Policy = Literal["strict", "balanced", "permissive", "ask"]


class Option(NamedTuple):
    """One option: its name, its type, and one sentence for the person who reads the list."""

    name: str
    type: Any
    meaning: str


NATIVE = "The CLI's own permission word; never wider than access"
OWN = "An option of this CLI alone"
OPTIONS = (
    Option("model", str, "The vendor's model, by its own name or alias"),
    Option("access", Access, "What the agent may do: read (default), edit, full"),
    Option("cwd", str, "The workspace; default: the current directory, or the session's"),
    Option("add_dirs", Words, "More directories it may use: a JSON list, or with commas between"),
    Option("timeout", Seconds, "Seconds after which the run is stopped; default: none"),
    Option("idle_timeout", Seconds, "Seconds of silence after which it is stopped"),
    Option("retry_wait", Annotated[float, Field(ge=0)], "Seconds it may spend waiting for retries"),
    Option("retries", Annotated[int, Field(ge=0, le=20)], "How often it may try again; default 2"),
    Option("ignore_breaker", bool, "Ask although the provider has just failed again and again"),
    Option("reuse", bool, "Take the answer of the same prompt where nothing has changed since"),
    Option("force_refresh", bool, "Run it even if the same prompt is running or answered"),
    Option("durable", bool, "Run as a job that goes on when this command is killed"),
    Option("session", str, "Continue the session of this name, or begin it"),
    Option("session_id", str, "Continue this session of the vendor's CLI"),
    Option("resume_latest", bool, "Continue the newest session of this directory"),
    Option("create_new_session", bool, "Start a new session even when a conversation goes on"),
    Option("allowed_tools", Words, "Offer only these tools, by the CLI's own names"),
    Option("disallowed_tools", Words, "Take these tools away"),
    Option("effort", str, "How hard the model thinks, in the CLI's own words"),
    Option("max_turns", Annotated[int, Field(ge=1)], "Model turns after which it stops"),
    Option("max_cost_usd", Annotated[float, Field(gt=0)], "Cost after which it stops"),
    Option("correlation_id", str, "Your own id for this prompt, kept in the recorder"),
    Option("trust_workspace", bool, "Let the workspace's own settings, hooks and servers run"),
    Option("mcp_servers", Words, "MCP servers it may use: names of yours, or a JSON or TOML file"),
    Option("strict_mcp_config", bool, "No MCP servers but those of mcp_servers, at full as well"),
    Option("approval_strategy", Strategy, "Judge it first: mcp_managed; or not: legacy (default)"),
    Option("approval_policy", Policy, "What is approved: strict, balanced, permissive, ask"),
    Option("optimize_prompt", bool, "Shorten the prompt by rules of thumb; lossy"),
    Option("optimize_response", bool, "Shorten the answer so; lossy, and it comes at the end"),
    Option("permission_mode", str, NATIVE),
    Option("approval_mode", str, NATIVE),
    Option("sandbox", str, NATIVE),
)
_NAMES = frozenset(option.name for option in OPTIONS)


@cache
def options_class(provider: Provider) -> type[llm.Options]:
    """Return the Options of a provider's models: only what that CLI has, all unset by default."""
    own = [
        Option(name, str, NATIVE if name in provider.native_words else OWN)
        for name in sorted(provider.options - _NAMES)
    ]
    fields: dict[str, Any] = {
        option.name: (
            Optional[option.type],
            Field(default=None, description=_meaning(option, provider)),
        )
        for option in (*OPTIONS, *own)
        if option.name in provider.options
    }
    return create_model("Options", __base__=llm.Options, **fields)


def _meaning(option: Option, provider: Provider) -> str:
    if option.name == "effort" and provider.efforts:
        return f"{option.meaning}: {', '.join(provider.efforts)}"
    if words := provider.native_words.get(option.name):
        return f"{option.meaning}: {', '.join(words)}"
    return option.meaning


def options_of(said: llm.Options, provider: Provider) -> Options:
    """Turn llm's options into ours."""
    values: dict[str, Any] = {
        name: getattr(said, name)
        for name in type(said).model_fields
        if getattr(said, name) is not None
    }
    own = {*provider.native_words, *(provider.options - _NAMES)}
    native = {word: values.pop(word) for word in sorted(own) if word in values}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    return Options(**values, native=native)
