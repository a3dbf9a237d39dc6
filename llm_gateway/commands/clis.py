"""``llm gateway versions`` and ``upgrade``: the CLIs as programs that are installed."""

from __future__ import annotations

import shlex

import click

from . import exits
from .models import chosen
from .output import json_option, print_json, print_table, say

__all__ = ["register"]


def register(group: click.Group) -> None:
    """Add the CLIs' commands to a group."""
    group.add_command(versions)
    group.add_command(upgrade)


@click.command()
@click.argument("provider", required=False)
@json_option
def versions(provider: str | None, as_json: bool) -> None:
    """Tell which CLIs are installed: version, path, and how they got there.

    All are asked at once. One that does not answer within 5 seconds is ended, with everything it
    started, and told as hanging; it is not asked again.

    \b
    Example:
      llm gateway versions
    """
    from llm_gateway.records import asdict
    from llm_gateway.updates import versions as ask

    found = ask(chosen(provider))
    if as_json:
        print_json([asdict(row) for row in found])
        return
    head = ("provider", "version", "how", "path")
    print_table(head, [(r.provider, r.version or "-", r.how or "-", r.path or "-") for r in found])
    for row in found:
        if row.problem:
            say(f"{row.provider}: {row.problem}")


@click.command()
@click.argument("provider")
@click.argument("target", default="latest")
@click.option("--run", "do_it", is_flag=True, help="Do it; without, only the plan is printed.")
@click.option(
    "--timeout",
    type=click.FloatRange(30, 3600),
    default=600.0,
    show_default=True,
    help="Seconds after which it is stopped.",
)
@json_option
def upgrade(provider: str, target: str, do_it: bool, timeout: float, as_json: bool) -> None:
    """Print what would upgrade PROVIDER's CLI to TARGET, or do it.

    TARGET is a version or a tag (latest, if it is left out), never a URL or a path.

    \b
    Examples:
      llm gateway upgrade claude
      llm gateway upgrade codex 0.169.0 --run
    """
    from llm_gateway import updates

    (cli,) = chosen(provider)
    plan = updates.plan(cli, target)
    if not do_it:
        if as_json:
            print_json({**plan.as_dict(), "ran": False})
        else:
            click.echo(shlex.join((plan.command, *plan.args)))
            say(f"{plan.note}." if plan.note else "Nothing was run; --run does it.")
        return
    (before,) = updates.versions([cli])
    said = updates.run(cli, plan, timeout)
    (after,) = updates.versions([cli])
    if as_json:
        outcome = {"ran": True, "exit_code": said.code, "problem": said.problem}
        outcome |= {"version_before": before.version, "version_after": after.version}
        print_json({**plan.as_dict(), **outcome, "output": (said.out + said.err)[-4000:]})
    elif said.ok:
        click.echo(f"{cli.name}: {before.version or 'nothing'} → {after.version or 'nothing'}")
    if not said.ok:
        told = said.problem or f"exit code {said.code}"
        tail = " ".join((said.err or said.out).split())[-300:]
        raise exits.Failed(f"The upgrade failed ({told}): {tail or 'it does not say why'}")
