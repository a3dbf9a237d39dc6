"""``llm gateway status``: which providers are being left alone, until when and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import exits
from .opening import recorder
from .output import json_option, local_time, print_json, print_table, say, seconds_since, span

if TYPE_CHECKING:
    from llm_gateway.store.breakers import State

__all__ = ["register"]

_WORST = ("open", "half_open", "closed")


def register(group: click.Group) -> None:
    """Add the breakers' command to a group."""
    group.add_command(status)


@click.command()
@click.option("--reset", metavar="PROVIDER", help="Close the breakers of this provider.")
@json_option
def status(reset: str | None, as_json: bool) -> None:
    """Say for each provider whether it is asked, or left alone.

    closed: it is asked. open: it has failed, and is left alone until the stated time. half_open:
    the next prompt tries it, or one is trying it now. A provider with several accounts has a
    breaker for each; the worst of them is shown.

    \b
    Examples:
      llm gateway status
      llm gateway status --json | jq -r '.[] | select(.state != "closed").provider'
      llm gateway status --reset claude
    """
    from llm_gateway.providers import all_providers

    names = list(all_providers())
    if reset is not None:
        _reset(reset, names)
        return
    rows = [_row(name, found) for name, found in _worst(names).items()]
    if as_json:
        print_json(rows)
    else:
        print_table(("provider", "state", "since", "until", "last error"), map(_told, rows))


def _reset(provider: str, names: list[str]) -> None:
    name = provider.removeprefix("gateway-")
    if name not in names:
        raise exits.Failed(
            f"There is no provider {provider}; there are {', '.join(names)}.", exits.USAGE
        )
    from llm_gateway.store import breakers

    with recorder() as conn:
        closed = breakers.reset(conn, name) if conn is not None else 0
    say(f"{name} is asked again." if closed else f"{name} was not left alone.")


def _worst(names: list[str]) -> dict[str, State | None]:
    """Each provider's worst breaker; those that nobody installs any more come last."""
    from llm_gateway.store import breakers

    found: dict[str, State | None] = dict.fromkeys(names)
    with recorder() as conn:
        states = breakers.states(conn) if conn is not None else []
    for state in sorted(states, key=lambda s: (_WORST.index(s.state), -(s.until or 0.0))):
        if found.get(state.provider) is None:
            found[state.provider] = state
    return found


def _row(name: str, found: State | None) -> dict[str, Any]:
    from llm_gateway.store.breakers import State
    from llm_gateway.store.text import iso

    state = found or State("", name)
    return {
        "provider": name,
        "state": state.state,
        "since": None if state.since is None else iso(state.since),
        "until": None if state.until is None else iso(state.until),
        "last_error": state.last_error,
        "failures": state.failures,
        "scope": state.scope or None,
        "probe_job_id": state.probe_job_id,
    }


def _told(row: dict[str, Any]) -> tuple[object, ...]:
    from llm_gateway.store.text import now

    until = local_time(row["until"])
    if until:
        until += f" (in {span(seconds_since(now(), row['until']))})"
    told = row["last_error"] if row["failures"] else ""
    return row["provider"], row["state"], local_time(row["since"]), until, told
