"""``llm gateway settings``: what holds at present, and why."""

from __future__ import annotations

import json
from typing import Any

import click

__all__ = ["register"]


def register(group: click.Group) -> None:
    """Add the settings' command to a group."""
    group.add_command(settings)


@click.command()
@click.option("as_json", "--json", is_flag=True, help="Print the settings as a JSON array.")
def settings(as_json: bool) -> None:
    """List every setting, its value and where that is from.

    A setting is a variable of the environment, or a line of config.toml in the state directory:
    LLM_GATEWAY_RETRY_WAIT=30 there is retry_wait = 30.

    \b
    Example:
        llm gateway settings
    """
    from llm_gateway import settings as ours
    from llm_gateway.errors import InvalidInput
    from llm_gateway.providers import all_providers

    try:
        rows = [_row(setting, held) for setting, held in ours.every(all_providers())]
    except InvalidInput as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        click.echo(_line(row))
    known = {row["problem"] for row in rows}
    for problem in ours.problems():
        if problem not in known:
            click.echo(problem, err=True)


def _row(setting: Any, held: Any) -> dict[str, Any]:
    value = setting.now() if setting.now else held.value
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


def _line(row: dict[str, Any]) -> str:
    line = f"{row['name']}={row['value'] or ''}  ({row['source']})"
    return f"{line}  {row['problem']}" if row["problem"] else line
