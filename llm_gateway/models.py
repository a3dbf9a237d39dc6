"""The gateway's providers as llm models: translates, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click
import llm
from llm.parts import AttachmentPart, StreamEvent, TextPart, ToolResultPart

from . import foreground, request
from .errors import Canceled, GatewayError
from .events import Done, Event, Notice, Reasoning, Reply, Text, ToolCall, ToolResult, Usage
from .ids import new_id
from .llm_lock import logs_patiently
from .progress import Progress, harmless
from .providers import provider_named
from .records import replace
from .request import Access, Attachment, Request, Turn, system_digest
from .store.text import clean

if TYPE_CHECKING:
    from .providers.base import Provider
    from .run import Run

__all__ = ["AsyncGatewayModel", "GatewayModel", "GatewayModelError"]

# Where there is a response_json, llm makes one regular expression of all that was asked and said,
# to store it without them: seconds for each million characters, while nothing is to be seen.
MOST_FOR_JSON = 300_000


class GatewayModelError(llm.ModelError, click.ClickException):
    """What llm shows when a prompt fails; a sentence in ``llm chat`` too, which catches nothing.

    ``category`` is one word of ``llm_gateway.errors``; ``__cause__`` is the typed error.
    """

    def __init__(self, error: GatewayError) -> None:
        super().__init__(harmless(str(error)))
        self.category = error.category


class _Shared:
    """What the sync and the async model have in common: everything but the waiting."""

    can_stream = True
    supports_conversation = True

    def __init__(self, provider: str, vendor_model: str | None = None) -> None:
        self.provider_name, self.vendor_model = provider, vendor_model
        self.namespace = f"gateway-{provider}"
        self.model_id = f"{self.namespace}/{vendor_model}" if vendor_model else self.namespace

    # llm makes every model at every start; what it does not ask for is not made.

    @cached_property
    def provider(self) -> Provider:
        return provider_named(self.provider_name)

    @property
    def attachment_types(self) -> set[str]:
        return set(self.provider.attachment_types)

    @property
    def supports_schema(self) -> bool:
        return self.provider.supports_schema

    @cached_property
    def Options(self) -> type[llm.Options]:
        from .options import options_class

        return options_class(self.provider)

    def __str__(self) -> str:
        return f"Gateway: {self.model_id}"

    def _ask(
        self, prompt: llm.Prompt, stream: bool, response: Any, conversation: Any
    ) -> _Translator:
        from .gateway import ask

        request = self._request(prompt, response, conversation)
        foreground.hand_over(request)
        logs_patiently(response)
        whole = not stream or prompt.schema is not None
        gone = foreground.stdout_gone if foreground.is_llm_command() else None
        try:
            return _Translator(ask(request, gone=gone), response, whole=whole)
        except GatewayError as error:
            raise GatewayModelError(error) from error

    def _request(self, prompt: llm.Prompt, response: Any, conversation: Any) -> Request:
        history, current = _split(prompt.messages)
        return Request(
            id=new_id(),
            provider=self.provider_name,
            prompt=_prompt_text(prompt, current),
            options=self._options(prompt.options),
            system=_system(prompt, history),
            history=tuple(_turns(history, self.namespace)),
            attachments=tuple(_attachment(a) for a in prompt.attachments or ()),
            schema=_schema(prompt.schema),
            turn_id=response.id,
            thread_id=getattr(conversation, "id", None),
            keep_bodies=_keeps_bodies(),
        )

    def _options(self, said: llm.Options) -> request.Options:
        from .options import options_of

        options = options_of(said, self.provider)
        return replace(options, model=options.model or self.vendor_model)


class GatewayModel(_Shared, llm.Model):  # type: ignore[misc,override]
    """``llm -m gateway-NAME``."""

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: Any, conversation: Any
    ) -> Iterator[StreamEvent]:
        translator = self._ask(prompt, stream, response, conversation)
        try:
            with translator.guarded(), translator.run:
                for event in translator.run:
                    yield from translator.take(event)
        except GatewayError as error:
            raise GatewayModelError(error) from error
        except BaseException:
            translator.say_cut_off()
            raise
        finally:
            translator.progress.end()


class AsyncGatewayModel(_Shared, llm.AsyncModel):  # type: ignore[misc,override]
    """The same for ``llm --async`` and ``llm.get_async_model``."""

    async def execute(
        self, prompt: llm.Prompt, stream: bool, response: Any, conversation: Any
    ) -> AsyncGenerator[str | StreamEvent, None]:
        translator = self._ask(prompt, stream, response, conversation)
        try:
            with translator.guarded():
                async with aclosing(aiter(translator.run)) as events:
                    async for event in events:
                        for piece in translator.take(event):
                            yield piece
        except GatewayError as error:
            raise GatewayModelError(error) from error
        except BaseException:
            translator.say_cut_off()
            raise
        finally:
            translator.progress.end()


class _Translator:
    """Turns our events into llm's. ``whole``: the answer is the last message and nothing else."""

    def __init__(self, run: Run, response: Any, *, whole: bool) -> None:
        self.run, self.response, self.whole = run, response, whole
        self.progress = Progress(shown=run.gone is not None)
        self._message: int | None = None
        self._held: list[str] = []
        self._chars = len(run.request.prompt)

    def guarded(self) -> AbstractContextManager[None]:
        """Where llm's command is the process, its signals end the run before they end it."""
        if self.run.gone is None:
            return nullcontext()
        return foreground.signals_end(self._stop)

    def _stop(self) -> None:
        self.run.close(killed=True)
        self.say_cut_off()

    def say_cut_off(self) -> None:
        """Tell the person that ended llm's command in which session the rest can be had."""
        error = self.run.error
        if self.run.gone is not None and isinstance(error, Canceled) and error.session_id:
            self.progress.line(str(error))

    def take(self, event: Event) -> Iterator[StreamEvent]:
        for piece in self._pieces(event):
            self._chars += len(piece.chunk)
            yield piece

    def _pieces(self, event: Event) -> Iterator[StreamEvent]:
        if type(event) is Text:
            yield from self._text(event)
        elif type(event) is Reasoning:
            yield StreamEvent("reasoning", self.progress.reasoning(event.text))
        elif type(event) is ToolCall:
            self.progress.tool(event)
            yield from _tool_call(event)
        elif type(event) is ToolResult:
            yield _tool_result(event)
        elif type(event) is Notice and event.kind != "noise":
            self.progress.line(event.text)
        elif type(event) is Done:
            yield from self._done(event.reply)

    def _text(self, event: Text) -> Iterator[StreamEvent]:
        fresh = self._message is not None and event.message != self._message
        self._message = event.message
        if not self.whole:
            text = "\n\n" + event.text if fresh else event.text
            yield StreamEvent("text", self.progress.text(text))
            return
        if fresh and self._held:
            yield StreamEvent("reasoning", "".join(self._held) + "\n\n")
            self._held = []
        self._held.append(event.text)

    def _done(self, reply: Reply) -> Iterator[StreamEvent]:
        metadata = {f"gateway-{self.run.request.provider}": _session_metadata(self.run, reply)}
        if self.whole:
            text = self.progress.text(reply.text)
            yield StreamEvent("text", text, provider_metadata=metadata)
        else:
            # Only now is the session certain; llm keeps metadata without text on reasoning alone.
            yield StreamEvent("reasoning", "", provider_metadata=metadata)
        _tell_usage(self.response, self.run, reply)
        if self._chars <= MOST_FOR_JSON:
            self.response.response_json = _response_json(self.run, reply)
        if reply.refused_actions:
            self.progress.line(_refusals(reply.refused_actions, self.run.access))
        if self.run.gone is not None:  # not before: of one cut off, execute() has a word to say
            foreground.ends_at_once()


def _split(messages: list[Any]) -> tuple[list[Any], list[Any]]:
    """Cut llm's chain into what was said before and the user's words of this turn."""
    end = len(messages)
    while end and messages[end - 1].role == "user":
        end -= 1
    return messages[:end], messages[end:]


def _prompt_text(prompt: llm.Prompt, current: list[Any]) -> str:
    if prompt.prompt:
        return str(prompt.prompt)
    return "\n\n".join(filter(None, map(_text_of, current)))


def _system(prompt: llm.Prompt, history: list[Any]) -> str | None:
    if prompt.system:
        return str(prompt.system)
    return "\n\n".join(_text_of(m) for m in history if m.role == "system") or None


def _turns(history: list[Any], namespace: str) -> Iterator[Turn]:
    for message in history:
        if message.role == "system":
            continue
        session = None
        for part in message.parts:
            session = (part.provider_metadata or {}).get(namespace, session)
        yield Turn(message.role, _text_of(message), session)


def _text_of(message: Any) -> str:
    return "\n".join(filter(None, (_part_text(part) for part in message.parts)))


def _part_text(part: Any) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, AttachmentPart):
        kind = part.attachment.resolve_type() if part.attachment else None
        return f"[attachment: {kind or 'file'}]"
    if isinstance(part, ToolResultPart) and not part.server_executed:
        return f"[{part.name} returned: {part.output}]"
    return ""


def _attachment(attachment: llm.Attachment) -> Attachment:
    kind = attachment.resolve_type() or "application/octet-stream"
    if attachment.path:
        return Attachment(kind, path=str(attachment.path))
    return Attachment(kind, content=attachment.content_bytes())


def _schema(schema: Any) -> Mapping[str, Any] | None:
    return schema if isinstance(schema, dict) else None


def _keeps_bodies() -> bool:
    """Whether llm itself logs this prompt: not with ``-n``, nor after ``llm logs off``."""
    context = click.get_current_context(silent=True)
    said = context.params if context is not None else {}
    if said.get("no_log"):
        return False
    return bool(said.get("log")) or not (llm.user_dir() / "logs-off").exists()


def _tool_call(event: ToolCall) -> Iterator[StreamEvent]:
    arguments = json.dumps(event.arguments, ensure_ascii=False)
    for kind, chunk in (("tool_call_name", event.name), ("tool_call_args", arguments)):
        yield StreamEvent(
            kind, chunk, tool_call_id=event.id, tool_name=event.name, server_executed=True
        )


def _tool_result(event: ToolResult) -> StreamEvent:
    return StreamEvent(
        "tool_result",
        event.output,
        tool_call_id=event.id,
        tool_name=event.name,
        server_executed=True,
    )


def _session_metadata(run: Run, reply: Reply) -> dict[str, Any]:
    """What a later turn needs to continue this one, also where no recorder remembers it."""
    o = run.request.options
    known = {
        "session_id": reply.session_id,
        "shared": True if run.outcome in ("joined", "reused") and not run.inherits else None,
        "turn": run.request.turn_id,
        "message": reply.facts.get("message"),
        "cwd": clean(o.cwd or "") or None,
        "model": o.model,
        "access": run.access.value,
        "add_dirs": list(map(clean, o.add_dirs)) if o.add_dirs else None,
        "cost_total_usd": reply.usage.cost_total_usd,
        "usage_totals": reply.facts.get("usage_totals"),
        "system": system_digest(run.request.system),
    }
    return {name: value for name, value in known.items() if value is not None}


def _usage(run: Run, reply: Reply) -> tuple[Usage, dict[str, int]]:
    """Tokens of this turn, and the details of them; of another's job they are told there."""
    u = Usage() if run.outcome in ("joined", "reused") else reply.usage
    details = {"cache_read": u.cache_read, "cache_write": u.cache_write, "reasoning": u.reasoning}
    return u, {name: count for name, count in details.items() if count}


def _tell_usage(response: Any, run: Run, reply: Reply) -> None:
    """Fill in what ``llm logs`` shows of every turn."""
    u, details = _usage(run, reply)
    response.set_usage(input=u.input, output=u.output, details=details or None)
    if reply.model:
        response.set_resolved_model(reply.model)


def _response_json(run: Run, reply: Reply) -> dict[str, Any]:
    """What else llm keeps of a turn that is not very long."""
    u, details = _usage(run, reply)
    return {
        "provider": run.request.provider,
        "session_id": reply.session_id,
        "request_id": run.request.id,
        "job_id": run.job_id,
        "correlation_id": run.request.options.correlation_id or run.request.id,
        "model": reply.model,
        "stop_reason": reply.stop_reason,
        "access": run.access.value,
        "cwd": run.request.options.cwd,
        "refused_actions": reply.refused_actions,
        "cli_version": reply.cli_version,
        "usage": {"input": u.input, "output": u.output, **details},
        "cost_usd": u.cost_usd,
        "cost_basis": u.cost_basis,
        **_whose(run),
        **({"approval": run.request.approval} if run.request.approval else {}),
        **_review(run.request),
    }


def _whose(run: Run) -> dict[str, str]:
    """The job that answered, where it was somebody else's; its tokens are counted there."""
    names = {"joined": "joined", "collected": "collected", "reused": "reused_from"}
    return {names[run.outcome]: run.job_id} if run.outcome in names else {}


def _review(request: Request) -> dict[str, Any]:
    """What stands in the way of the review that a prompt wants, where anything does."""
    from .policy.review import review

    o, words = request.options, (request.system, request.asked or request.prompt)
    found = review("\n\n".join(filter(None, words)), o.allowed_tools, o.disallowed_tools)
    return {"review_integrity": found.told()} if found.violations else {}


def _refusals(count: int, access: Access) -> str:
    actions = "1 action was" if count == 1 else f"{count} actions were"
    wider = {
        Access.READ: "; -o access edit allows more",
        Access.EDIT: "; -o access full allows all",
    }
    return f"{actions} refused at access {access.value}{wider.get(access, '')}"
