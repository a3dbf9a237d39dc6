"""A job's answer as a row in llm's own logs, as if llm had asked and waited for it.

llm builds and writes the row itself: a model of the same class plays back what the job said. The
row has the id that llm gave the prompt when it was submitted, so that writing it again, were it
from two processes at once, leaves one row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

import llm
from llm.logs import LogStore
from llm.parts import Message, TextPart
from sqlite_utils import Database

from . import settings
from .follow import followed
from .llm_lock import patient
from .models import GatewayModel, _Translator
from .progress import Progress
from .records import replace
from .request import Access, Attachment, Request
from .run import Run
from .spec import request_of
from .store import jobs
from .store.fetching import to_be_logged, was_logged
from .store.location import lock
from .store.text import seconds_of

__all__ = ["log_answers"]


def log_answers(
    conn: sqlite3.Connection, job_ids: Iterable[str], warn: Callable[[str], None]
) -> None:
    """Write the answers of completed jobs to llm's logs, unless those are off; one process a time.

    What fails is told and tried again by the next fetch: the answer itself is there.
    """
    try:
        _log_answers(conn, job_ids, warn)
    except (OSError, sqlite3.Error) as error:
        warn(f"llm's logs do not have the answer yet: {error}")


def _log_answers(
    conn: sqlite3.Connection, job_ids: Iterable[str], warn: Callable[[str], None]
) -> None:
    from llm.cli import logs_db_path, logs_on

    if not logs_on():
        return
    logs = Database(logs_db_path())
    try:
        with lock(settings.home() / "llm-logs"):
            for job_id, spec in to_be_logged(conn, job_ids).items():
                try:
                    _log(LogStore(logs), conn, job_id, request_of(spec))
                except Exception as error:
                    warn(f"The answer of job {job_id} is not in llm's logs yet: {error}")
                else:
                    was_logged(conn, job_id)
    finally:
        logs.close()


def _log(store: LogStore, conn: sqlite3.Connection, job_id: str, request: Request) -> None:
    job, model = jobs.get(conn, job_id), _Playback(conn, job_id, request)
    conversation = model.conversation()
    conversation.id = request.thread_id or conversation.id
    conversation.loaded_messages = _said_before(store, request)
    response = conversation.prompt(
        request.prompt,
        system=request.system,
        attachments=[_attachment(a) for a in request.attachments],
        schema=dict(request.schema) if request.schema else None,
        **_options(model, request),
    )
    response.id = request.turn_id or response.id
    response.text()
    began, ended = seconds_of(job["started"]), seconds_of(job["finished"])
    response._start_utcnow = datetime.fromtimestamp(began, timezone.utc)
    response._start, response._end = began, ended
    patient(store.log)(response)


class _Playback(GatewayModel):
    """The model that the prompt was for; it answers what it answered then.

    That is no delivery: nobody has been shown the answer by it.
    """

    def __init__(self, conn: sqlite3.Connection, job_id: str, request: Request) -> None:
        super().__init__(request.provider)
        self._recorded = Run(request, lambda run, stack: followed(run, conn, job_id), job_id=job_id)

    def _ask(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> _Translator:
        self._recorded.start()
        translator = _Translator(self._recorded, response, whole=prompt.schema is not None)
        translator.progress = _Silent()
        return translator


class _Silent(Progress):
    def _write(self, text: str) -> None:
        pass


def _said_before(store: LogStore, request: Request) -> list[Message]:
    """The conversation up to the prompt: llm's own chain, or what the prompt knew of it."""
    if not request.history:
        return []
    last = next(
        store.db.query(
            "select tip_message_hash from turns where thread_id = ? and id < ?"
            " order by id desc limit 1",
            [request.thread_id, request.turn_id],
        ),
        None,
    )
    if last is not None:
        chain: list[Message] = store.load_chain(last["tip_message_hash"])
        return chain
    return [Message(role=turn.role, parts=[TextPart(text=turn.text)]) for turn in request.history]


def _options(model: GatewayModel, request: Request) -> dict[str, Any]:
    """The options as llm had them; where it ran, and that it only read, went without saying."""
    ours = replace(request.options, cwd=None)
    if ours.access is Access.READ:
        ours = replace(ours, access=None)
    said = {name: getattr(ours, name, ours.native.get(name)) for name in model.Options.model_fields}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in said.items()
        if value is not None
    }


def _attachment(attachment: Attachment) -> llm.Attachment:
    return llm.Attachment(
        type=attachment.type,
        path=attachment.path,
        url=attachment.url,
        content=attachment.content,
    )
