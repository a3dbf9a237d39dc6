"""``llm gateway import``: what another gateway recorded becomes part of the recorder."""

from __future__ import annotations

from pathlib import Path

import click

from . import exits
from .output import json_option, print_json, say

__all__ = ["register"]


def register(group: click.Group) -> None:
    """Add the recorder's commands to a group."""
    group.add_command(import_)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def import_(file: Path, as_json: bool) -> None:
    """Take over the rows of an original llm-cli-gateway FILE.

    Its recorder (logs.db) or its sessions.json. The file is only read. Rows that are there already
    are left alone, so this can be repeated; imported requests are never pruned. Sessions that no
    CLI has (the original made up some ids) are left out, and none becomes the active one.

    \b
    Example:
      llm gateway import ~/.llm-cli-gateway/logs.db
      llm gateway import ~/.llm-cli-gateway/sessions.json
    """
    from llm_gateway.store.import_original import NotAnOriginal, import_file
    from llm_gateway.store.import_sessions import import_sessions, looks_like_sessions
    from llm_gateway.store.recorder import open_recorder

    recorder = open_recorder(say)
    try:
        if recorder.connection is None:
            raise exits.Failed("The recorder is off; LLM_GATEWAY_LOGS_DB names its file.")
        bring_in = import_sessions if looks_like_sessions(file) else import_file
        counts = bring_in(file, recorder.connection)
    except NotAnOriginal as error:
        raise exits.Failed(str(error), exits.BAD_DATA) from error
    finally:
        recorder.close()
    if as_json:
        print_json(counts)
    else:
        click.echo(_sentence(counts))


def _sentence(counts: dict[str, int]) -> str:
    if "sessions" in counts:
        told = f"Imported {counts['sessions']} sessions"
    else:
        told = f"Imported {counts['requests']} requests and {counts['jobs']} jobs"
    if there := counts["already_there"]:
        told += f"; {there} were there already"
    if left := counts.get("left_out"):
        told += f"; left out {left} that have expired or that no CLI has"
    return f"{told}."
