"""What ``llm gateway job tail`` prints of a job's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import sqlite3

    from llm_gateway.events import Event, Reply

__all__ = ["Lines", "Printer"]


class Lines:
    """Events as lines of JSON, for a program."""

    def __init__(self) -> None:
        self._seq = -1

    def print_new(self, conn: sqlite3.Connection, job_id: str) -> None:
        """Everything that the job has said since the last look."""
        from llm_gateway.store import jobs

        while said := jobs.events_after(conn, job_id, self._seq):
            self._seq = said[-1][0]
            for seq, t, event in said:
                self.take(seq, t, event)

    def take(self, seq: int, t: int, event: Event) -> None:
        from llm_gateway.store.codec import encode
        from llm_gateway.store.text import dumps

        kind, data = encode(event, keep=True)
        click.echo(dumps({"seq": seq, "t": t, "kind": kind, **data}).encode())

    def finish(self, reply: Reply | None) -> None:
        """The answer was said by its events."""

    def end(self) -> None:
        """Every line has its end."""


class Printer(Lines):
    """Events as a person reads them: text on stdout, everything else on stderr."""

    def __init__(self) -> None:
        from llm_gateway.progress import Progress

        super().__init__()
        self._progress = Progress(shown=True)
        self._message: int | None = None
        self._ended = True

    def take(self, seq: int, t: int, event: Event) -> None:
        from llm_gateway.events import Notice, Text, ToolCall
        from llm_gateway.progress import described

        if isinstance(event, Text):
            fresh = self._message is not None and event.message != self._message
            self._message = event.message
            self._print("\n\n" + event.text if fresh else event.text)
        elif isinstance(event, ToolCall):
            self._progress.line(f"· {described(event)}")
        elif isinstance(event, Notice) and event.kind != "noise":
            self._progress.line(event.text)

    def finish(self, reply: Reply | None) -> None:
        """The answer of a job whose events were not kept."""
        if reply is not None and self._message is None:
            self._print(reply.text)

    def end(self) -> None:
        if not self._ended:
            click.echo(self._progress.text("\n"), nl=False)
        self._progress.end()

    def _print(self, text: str) -> None:
        if text:
            click.echo(self._progress.text(text), nl=False)
            self._ended = text.endswith("\n")
