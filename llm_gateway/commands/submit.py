"""``llm gateway submit``: a prompt that becomes a job; it takes what ``llm prompt`` takes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .opening import recorder
from .output import print_json, say

if TYPE_CHECKING:
    from llm_gateway.request import Request

__all__ = ["register"]

# Of llm's own options those that make the request; the others say what is done with an answer.
_TAKEN = {
    *("prompt", "system", "model_id", "options", "attachments", "attachment_types"),
    *("schema_input", "schema_multi", "fragments", "system_fragments", "template", "param"),
    *("no_log", "_continue", "conversation_id"),
}
_HELP = """Begin a job that goes on without this terminal, and print its id.

It takes the options of llm's own prompt, standard input included. What is wrong with them is said
at once; the job then runs as if it had been asked here and now. Its answer gets its row in llm's
logs when it is fetched. This is the one command for which llm-gateway loads llm.

\b
Example:
  id=$(llm gateway submit -m gateway-codex -o access edit "make the tests pass")
  llm gateway job wait "$id" && llm gateway job result "$id"
"""


def register(group: click.Group) -> None:
    """Add it to a group."""
    group.add_command(_Submit("submit", callback=submit, help=_HELP))


class _Submit(click.Command):
    """Has parameters of ``llm prompt``, which are looked up when somebody needs them."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not self.params:
            from llm.cli import prompt

            own = click.Option(["as_json", "--json"], is_flag=True, help="Print JSON.")
            self.params = [*(p for p in prompt.params if p.name in _TAKEN), own]
        return super().get_params(ctx)


def submit(as_json: bool, **said: Any) -> None:
    """Make the request and begin its job."""
    from llm_gateway.claiming import joined_note
    from llm_gateway.gateway import submit as begin

    claim = begin(_request(said), say)
    if claim.outcome not in ("ran", "queued"):
        with recorder() as conn:
            if conn is not None:
                say(joined_note(conn, claim))
    if as_json:
        print_json({"id": claim.job_id, "outcome": claim.outcome})
    else:
        click.echo(claim.job_id)


def _request(said: dict[str, Any]) -> Request:
    """What llm makes of the options: fragments, templates, schemas, attachments, conversations."""
    import sqlite3

    from llm.cli import logs_db_path, prompt

    from llm_gateway.foreground import Taken, requests_are_taken

    if sys.stdin is None:  # it was closed, which llm does not expect
        sys.stdin = open(os.devnull)  # noqa: SIM115
    try:
        said["model_id"] = _model_id(**said)
        requests_are_taken()
        click.get_current_context().invoke(prompt, **said)
    except Taken as taken:
        return taken.request
    except click.ClickException as error:
        raise _refused(error) from error
    except sqlite3.Error as error:  # the recorder was not looked at yet
        raise exits.Failed(f"llm's own log {logs_db_path()} cannot be used: {error}.") from error
    raise AssertionError("llm asked the model for nothing")


def _model_id(
    model_id: str | None,
    template: tuple[str, ...],
    _continue: bool,
    conversation_id: str | None,
    **_: Any,
) -> str:
    """The model that llm would choose; refused here where it is none of ours, before it runs."""
    import llm
    from llm.cli import LoadTemplateError, load_conversation, load_template

    from llm_gateway.models import GatewayModel

    try:
        if not model_id and template:
            model_id = next(filter(None, (load_template(name).model for name in template)), None)
        if not model_id and (_continue or conversation_id):
            conversation = load_conversation(conversation_id)
            model_id = conversation.model.model_id if conversation else None
        model = llm.get_model(model_id or llm.get_default_model())
    except (llm.UnknownModelError, LoadTemplateError) as error:
        raise exits.Failed(str(error.args[0]), exits.USAGE) from error
    if not isinstance(model, GatewayModel):
        raise exits.Failed(
            f"{model.model_id} is not a model of the gateway: llm models -q gateway lists them.",
            exits.USAGE,
        )
    return model.model_id


def _refused(error: click.ClickException) -> click.ClickException:
    """llm ends with 1 whatever was wrong; here it was the command line, or what we said."""
    from llm_gateway.models import GatewayModelError

    if isinstance(error, (click.UsageError, exits.Failed)):
        return error
    cause = error.__context__
    if isinstance(cause, GatewayModelError):
        return exits.Failed(error.format_message(), exits.code_of(cause.category))
    return exits.Failed(error.format_message(), exits.USAGE)
