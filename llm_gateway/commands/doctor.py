"""``llm gateway doctor``: what is there, what is broken, and what mends it."""

from __future__ import annotations

from typing import Any

import click

from ..records import asdict
from . import exits
from .output import json_option, print_json
from .settings import rows_of

__all__ = ["register"]


def register(group: click.Group) -> None:
    """Add the doctor to a group."""
    group.add_command(doctor)


@click.command()
@click.option("--probe", is_flag=True, help="Compare each CLI's help with every flag that we pass.")
@json_option
def doctor(probe: bool, as_json: bool) -> None:
    """Look at everything that a prompt needs; say what is broken and what mends it.

    Nothing is changed, no model is called, and no secret is printed. Exits with 1 where something
    is broken.

    \b
    Example:
      llm gateway doctor --probe
    """
    from llm_gateway.doctor import examine
    from llm_gateway.findings import BROKEN
    from llm_gateway.progress import harmless
    from llm_gateway.providers import all_providers

    found = list(examine(all_providers().values(), probe=probe))
    broken = sum(finding.state == BROKEN for finding in found)
    if as_json:
        checks = [asdict(finding) for finding in found]
        print_json({"ok": not broken, "checks": checks, "settings": _settings()})
    else:
        for finding in found:
            line = f"{finding.state:<8} {finding.area}: {finding.subject}: {finding.text}"
            click.echo(harmless(line))
            if finding.remedy:
                click.echo(harmless(f"{'':8} → {finding.remedy}"))
    if broken:
        raise click.exceptions.Exit(exits.OTHER)


def _settings() -> list[dict[str, Any]]:
    """Every setting, its value and its source; nothing where they cannot be read."""
    from llm_gateway.errors import InvalidInput
    from llm_gateway.providers import all_providers

    try:
        return rows_of(all_providers())
    except InvalidInput:
        return []
