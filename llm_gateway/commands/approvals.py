"""``llm gateway approvals`` and ``approval …``: what was approved or denied, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .inputs import SINCE
from .opening import recorder
from .output import json_option, local_time, print_json, print_table

if TYPE_CHECKING:
    from llm_gateway.policy.approval import Asked, Verdict
    from llm_gateway.providers.base import Provider
    from llm_gateway.request import Request

__all__ = ["register"]


def register(group: click.Group) -> None:
    """Add the approvals' commands to a group."""
    group.add_command(approvals)
    group.add_command(approval)


@click.command()
@click.option("-p", "--provider", metavar="PROVIDER", help="Only those of this provider.")
@click.option("--denied", "decision", flag_value="denied", help="Only what was denied.")
@click.option("--approved", "decision", flag_value="approved", help="Only what was approved.")
@click.option("--since", type=SINCE, help="Only those since then: 90m, 2h, 7d, a date.")
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
)
@json_option
def approvals(
    provider: str | None, decision: str | None, since: str | None, limit: int, as_json: bool
) -> None:
    """List what was approved and denied, newest first.

    There is a record for each prompt with an approval policy. Where the recorder is off, they come
    from approvals.jsonl in the state directory, which has them all.

    \b
    Example:
      llm gateway approvals --denied --since 7d
      llm gateway approvals --json | jq '.[] | {cli, score, reasons}'
    """
    from llm_gateway import settings
    from llm_gateway.store import approvals as store

    name = provider.removeprefix("gateway-") if provider else None
    with recorder(spare=True) as conn:
        if conn is None:
            rows = store.in_log(
                settings.home(), limit=limit, provider=name, decision=decision, since=since
            )
        else:
            rows = store.listed(conn, limit=limit, provider=name, decision=decision, since=since)
    if as_json:
        print_json(rows)
    else:
        head = ("id", "when", "provider", "access", "policy", "score", "decision", "reasons")
        print_table(head, map(_told, rows))


def _told(row: dict[str, Any]) -> tuple[object, ...]:
    names = ("cli", "access", "policy", "score", "status")
    reasons = "; ".join(map(str, row.get("reasons") or ()))
    return (row["id"], local_time(row["ts"]), *(row.get(name) for name in names), reasons)


@click.group()
def approval() -> None:
    """Show one approval, or what would become of a prompt."""


@approval.command()
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> None:
    """Show one approval: what was asked, what the rules said, and what was decided.

    ID may be the beginning of one, the id of the request, or @last for the newest.

    \b
    Example:
      llm gateway approval show 01m81pqaxx
    """
    record = _find(id)
    if as_json:
        print_json(record)
        return
    for name, value in _described(record):
        click.echo(f"{name + ':':<12}{value}")


def _find(word: str) -> dict[str, Any]:
    from llm_gateway import settings
    from llm_gateway.store import approvals as store

    log = settings.home()
    with recorder(spare=True) as conn:
        if word == "@last":
            found = store.in_log(log, limit=1) if conn is None else store.listed(conn, limit=1)
        else:
            found = store.by_id(conn, word) if conn is not None and word else []
    if not found and word:
        found = [
            record
            for record in store.from_log(log)
            if str(record["id"]).startswith(word) or record.get("requestId") == word
        ]
    if len(found) == 1:
        return found[0]
    if word == "@last":
        raise exits.Failed("There are no approvals yet.", exits.USAGE)
    many = "several approvals begin so" if found else "no approval has it"
    raise exits.Failed(f"{word!r} is not the id of an approval: {many}.", exits.USAGE)


def _described(record: dict[str, Any]) -> Iterator[tuple[str, object]]:
    threshold = record.get("threshold")
    limit = "" if threshold is None else f", at most {threshold} is approved"
    yield "id", record["id"]
    yield "when", local_time(record["ts"])
    yield "decision", f"{record['status']}, policy {record.get('policy')}"
    yield "score", f"{record.get('score')}{limit}"
    for reason in record.get("reasons") or ():
        yield "", reason
    yield "provider", record.get("cli")
    yield "access", record.get("access") or ""
    yield "servers", ", ".join(record.get("requestedMcpServers") or ()) or "none"
    yield "request", record.get("requestId") or ""
    yield "prompt", record.get("promptPreview")
    yield "sha256", record.get("promptSha256")


@approval.command()
@click.argument("prompt")
@click.option(
    "-m", "--model", "model", default="claude", show_default=True, help="The provider or its model."
)
@click.option("-s", "--system", help="The system prompt, which counts as well.")
@click.option(
    "-o", "--option", "options", type=(str, str), multiple=True, metavar="NAME VALUE",
    help="An option as for a prompt, such as access edit.",
)  # fmt: skip
@json_option
def explain(
    prompt: str, model: str, system: str | None, options: tuple[tuple[str, str], ...], as_json: bool
) -> None:
    """Say what a prompt scores, by which rules, and what each policy makes of it; run nothing.

    \b
    Example:
      llm gateway approval explain "delete the old logs" -m gateway-codex -o access edit
    """
    from llm_gateway.policy.approval import POLICIES, judged

    provider = _provider(model)
    request = _request(prompt, system, provider, options)
    asked, verdict, switch = _verdict(request, provider)
    each = {policy: judged(asked, policy, switch=switch) for policy in POLICIES}
    if as_json:
        print_json(_explained(provider, request, asked, verdict, each))
        return
    first = each["strict"]
    for point in first.points:
        click.echo(f"{point.points:+3d}  {point.rule}: {point.reason}")
    click.echo(f"{first.score:3d}  in all")
    for policy, said in each.items():
        here = " (in force)" if verdict is not None and verdict.policy == policy else ""
        why = f": {said.refusal}" if said.refusal else ""
        click.echo(f"{policy}{here}: {_word(said)}{why}")
    if verdict is None:
        click.echo("No policy is in force for it, so it would run.")


def _verdict(request: Request, provider: Provider) -> tuple[Asked, Verdict | None, bool]:
    import os

    from llm_gateway.approve import verdict_on
    from llm_gateway.policy.approval import switch_is_on
    from llm_gateway.request import Access

    access = request.options.access or Access.READ
    provider.check(request, access)
    asked, verdict = verdict_on(request, provider, access)
    return asked, verdict, switch_is_on(os.environ)


def _explained(
    provider: Provider,
    request: Request,
    asked: Asked,
    verdict: Verdict | None,
    each: dict[str, Verdict],
) -> dict[str, Any]:
    first = each["strict"]
    return {
        "provider": provider.name,
        "access": (request.options.access.value if request.options.access else "read"),
        "score": first.score,
        "rules": [point._asdict() for point in first.points],
        "reasons": first.reasons,
        "policy": verdict.policy if verdict else None,
        "decision": _word(verdict) if verdict else None,
        "policies": {policy: _word(said) for policy, said in each.items()},
        "review_integrity": asked.review.told(),
    }


def _word(verdict: Verdict) -> str:
    return {True: "approved", False: "denied", None: "ask"}[verdict.approved]


def _provider(model: str) -> Provider:
    from llm_gateway.providers import all_providers

    name = model.removeprefix("gateway-").partition("/")[0]
    found = all_providers().get(name)
    if found is None:
        raise exits.Failed(
            f"There is no provider {name}; there are {', '.join(all_providers())}.", exits.USAGE
        )
    return found


def _request(
    prompt: str, system: str | None, provider: Provider, said: tuple[tuple[str, str], ...]
) -> Request:
    import os

    from pydantic import ValidationError

    from llm_gateway.ids import new_id
    from llm_gateway.options import options_class, options_of
    from llm_gateway.providers.mcp import digests
    from llm_gateway.request import Request

    try:
        options = options_of(options_class(provider)(**dict(said)), provider)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise exits.Failed(f"Option {name}: {first['msg']}.", exits.USAGE) from error
    servers = digests(provider.servers(options, os.environ), os.environ)
    return Request(new_id(), provider.name, prompt, options, system, servers=servers)
