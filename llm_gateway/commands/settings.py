"""``llm gateway settings``: what holds at present, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from .output import json_option, print_json, print_table, say

__all__ = ["register", "rows_of"]


def register(group: click.Group) -> None:
    """Add the settings' command to a group."""
    group.add_command(settings)


@click.command()
@json_option
def settings(as_json: bool) -> None:
    """List every setting, its value and where that is from.

    A setting is a variable of the environment, or a line of config.toml in the state directory:
    LLM_GATEWAY_RETRY_WAIT=30 there is retry_wait = 30. The environment wins.

    \b
    Example:
      llm gateway settings
    """
    from llm_gateway import settings as ours
    from llm_gateway.providers import all_providers

    rows = rows_of(all_providers())
    if as_json:
        print_json(rows)
        return
    table = [(row["name"], row["value"] or "", row["source"]) for row in rows]
    print_table(("setting", "value", "source"), table)
    problems = [row["problem"] for row in rows if row["problem"]]
    problems += ours.problems()
    problems += [f"{name} is set, and nothing reads it" for name in ours.unread()]
    for problem in dict.fromkeys(problems):
        say(problem)


def rows_of(providers: Iterable[str]) -> list[dict[str, Any]]:
    """Every setting as data."""
    from llm_gateway.settings import every

    return [_row(setting, held) for setting, held in every(providers)]


def _row(setting: Any, held: Any) -> dict[str, Any]:
    from llm_gateway.settings import in_force

    value = in_force(setting, held)
    return {
        "name": setting.name,
        "key": setting.key if setting.in_file else None,
        "value": None if value is None else str(value),
        "source": held.source,
        "default": setting.default,
        "kind": setting.kind.word,
        "problem": held.problem,
        "meaning": setting.meaning,
    }
